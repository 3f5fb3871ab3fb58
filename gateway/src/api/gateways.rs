//! `GET /v1/gateways`.

use axum::Json;
use axum::extract::State;
use gateway_config::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::problem::{Problem, Refusals};
use super::request::Caller;
use crate::cluster::{Beat, Member};

/// A gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "4f2a", "version": "0.1.0", "connections": 812, "draining": false, "uptime": 86400, "lag": 0}))]
pub struct Gateway {
    /// Its id, new with every start.
    id: String,
    /// Its version.
    version: String,
    /// Client connections that it holds.
    connections: u64,
    /// Whether it is sending its clients away.
    draining: bool,
    /// Seconds since it started.
    uptime: u64,
    /// Publications that are stored and that it has not seen yet.
    lag: u64,
}

/// The gateways.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Gateways {
    /// All that are there, by id. What the others say is up to two seconds
    /// old.
    gateways: Vec<Gateway>,
}

// === impl Gateway ===

impl Gateway {
    fn other(member: &Member) -> Self {
        let Beat { version, connections, draining, uptime, lag, .. } = member.beat.clone();
        Self { id: member.id.to_string(), version, connections, draining, uptime, lag }
    }
}

/// List gateways
///
/// Every gateway of the cluster. One that was not heard for six seconds is
/// left out.
#[utoipa::path(
    get, path = "/v1/gateways", tag = "gateways", operation_id = "listGateways",
    responses((status = 200, description = "The gateways", body = Gateways), Refusals),
)]
pub async fn list(State(api): State<ApiState>, caller: Caller) -> Result<Json<Gateways>, Problem> {
    caller.check(Scope::Read, None)?;
    let status = (api.status)();
    let this = Gateway {
        id: status.id.to_string(),
        version: status.version.to_string(),
        connections: status.connections,
        draining: status.draining,
        uptime: status.uptime,
        lag: status.lag,
    };
    let members = api.cluster.members.all();
    let mut gateways: Vec<Gateway> = members.iter().map(|member| Gateway::other(member)).collect();
    gateways.push(this);
    gateways.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(Gateways { gateways }))
}
