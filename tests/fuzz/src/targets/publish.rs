//! The API's publish requests: what is accepted, every client can read.

use gateway::api::publish::PublishRequest;
use gateway::api::request::{Caller, parse_json};
use gateway::protocol::socketio::{event, parse_event};
use gateway::protocol::{json, sse};
use gateway::publication::{NewPublication, Publication, check_event};
use gateway::rules::Rules;
use gateway_config::Limits;
use serde_json::Value as Json;

use super::Target;
use super::socketio::reread;

pub(super) const TARGET: Target =
    Target { name: "publish", planted: "64 bytes more than the limit are let through", check };

const LARGEST: usize = 100;

fn check(data: &[u8], planted: bool) {
    let Ok(request) = parse_json::<PublishRequest>(data) else { return };
    let rules = Rules::new(Vec::new(), if planted { LARGEST + 64 } else { LARGEST });
    let limits = Limits { batch: 8, ..Limits::default() };
    let Ok(order) = request.check(&Caller::anyone(), &rules, &limits) else { return };
    let publications: Vec<NewPublication> = order.publications().collect();
    assert!(!publications.is_empty() && publications.len() <= limits.batch);
    if let Ok(whole) = serde_json::from_slice::<Json>(data)
        && let Some(named) = whole["channels"].as_array()
    {
        let got: Vec<&str> = publications.iter().map(|one| one.channel.as_str()).collect();
        assert_eq!(named.iter().filter_map(Json::as_str).collect::<Vec<_>>(), got);
    }
    for publication in publications {
        assert!(publication.size() <= LARGEST);
        assert_eq!(check_event(&publication.event), Ok(()));
        delivered(publication);
    }
}

/// As subscribers of every protocol get it.
fn delivered(new: NewPublication) {
    let publication = Publication {
        channel: new.channel,
        event: new.event,
        args: new.args,
        spread: new.spread,
        id: new.id,
        time: 0,
        position: None,
        except: new.except,
    };
    let frame = json::publication(&publication, Some("1-2-3"));
    serde_json::from_slice::<&serde_json::value::RawValue>(frame.payload()).unwrap();
    assert!(sse::publication(&publication, None).ends_with(b"\n\n"));
    let packet = reread(&event("/", &publication.event, &publication.args, None));
    let read = parse_event(packet.data.as_ref().unwrap(), &packet.attachments).unwrap();
    assert_eq!(read.args, publication.args);
}
