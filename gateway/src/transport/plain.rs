//! `/ws`: a plain WebSocket.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::http::switch_protocols;
use super::origin::Verdict;
use super::request::{Caller, ResponseBody, problem, token};
use super::socket::Socket;
use super::websocket::{Inbound, Serving, into_stream};
use crate::door::Place;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Outbox};
use crate::protocol::websocket::Message;
use crate::session::plain::Plain;
use crate::shard::Shard;

/// A plain WebSocket and who speaks over it.
#[derive(Clone)]
struct PlainSocket {
    client: Rc<Plain>,
    stream: Rc<Socket>,
}

/// Answers a request for a plain WebSocket.
pub async fn handle(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    caller: &Caller,
) -> Response<ResponseBody> {
    let admitted = admit(shard, caller).await;
    let (place, answer) = match admitted.and_then(|place| Ok((place, switch_protocols(&request)?)))
    {
        Ok(admitted) => admitted,
        Err(error) => {
            shard.refused(&error);
            return problem(&error);
        }
    };
    let token = token(&caller.query, request.headers());
    let place = (place, caller.address);
    let upgrade = hyper::upgrade::on(&mut request);
    let inner = shard.clone();
    shard.tasks.spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(upgraded) else { return };
        let client = Plain::open(&inner, token, place);
        let stream = Rc::new(Socket::from(stream));
        client.outbox.attach_socket(stream.clone());
        let serving =
            Serving::new(inner.clone(), PlainSocket { client: client.clone(), stream }, leftover);
        // A task of its own: that of the request ends, with all that it holds.
        if client.has_token() {
            inner.tasks.spawn_local(serving.after(async move { client.connect_now().await }));
        } else {
            inner.tasks.spawn_local(serving);
        }
    });
    answer
}

/// Takes a place for a new connection, if it may come in.
pub(super) async fn admit(shard: &Shard, caller: &Caller) -> Result<Place, Error> {
    if caller.verdict == Verdict::Refused {
        return Err(Error::new(
            ErrorCode::Forbidden,
            "this web origin may not connect; `client.allowedOrigins` lists those that may",
        ));
    }
    shard.shared.door.enter(caller.address).await
}

impl Inbound for PlainSocket {
    fn socket(&self) -> &Rc<Socket> {
        &self.stream
    }

    fn outbox(&self) -> Rc<Outbox> {
        self.client.outbox.clone()
    }

    fn message(&self, message: Message) -> impl Future<Output = ()> {
        self.client.message(message)
    }

    fn closed(&self, reason: CloseReason) {
        self.client.closed(reason);
    }
}
