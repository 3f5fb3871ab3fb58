//! `/ws`: a plain WebSocket.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::http::switch_protocols;
use super::origin::Verdict;
use super::request::{Query, ResponseBody, problem, token};
use super::websocket::{self, Inbound, into_stream};
use crate::error::{Error, ErrorCode};
use crate::hub::Outbox;
use crate::protocol::websocket::Message;
use crate::session::plain::Plain;
use crate::shard::{Place, Shard};

/// Answers a request for a plain WebSocket.
pub fn handle(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    query: &Query,
    verdict: &Verdict,
) -> Response<ResponseBody> {
    let admitted = admit(shard, verdict);
    let (place, answer) = match admitted.and_then(|place| Ok((place, switch_protocols(&request)?)))
    {
        Ok(admitted) => admitted,
        Err(error) => {
            shard.refused(&error);
            return problem(&error);
        }
    };
    let token = token(query, request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    let inner = shard.clone();
    shard.tasks.spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(upgraded) else { return };
        let stream = Rc::new(stream);
        let client = Plain::open(&inner, token, place);
        client.outbox.attach_socket(stream.clone());
        if client.has_token() {
            client.connect_now().await;
        }
        let reason = websocket::serve(&inner, &stream, leftover, &client).await;
        client.closed(reason);
    });
    answer
}

/// Takes a place for a new connection, if it may come in.
pub(super) fn admit(shard: &Shard, verdict: &Verdict) -> Result<Place, Error> {
    if *verdict == Verdict::Refused {
        return Err(Error::new(
            ErrorCode::Forbidden,
            "this web origin may not connect; `client.allowedOrigins` lists those that may",
        ));
    }
    shard.shared.enter().ok_or_else(|| {
        Error::new(
            ErrorCode::LimitConnections,
            "the gateway takes no more connections; try again in a moment",
        )
    })
}

impl Inbound for Rc<Plain> {
    fn outbox(&self) -> Rc<Outbox> {
        self.outbox.clone()
    }

    fn message(&self, message: Message) -> impl Future<Output = ()> {
        Plain::message(self, message)
    }
}
