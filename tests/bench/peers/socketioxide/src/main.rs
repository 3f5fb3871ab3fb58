//! socketioxide on axum: clients join rooms, an HTTP route beside it emits to
//! one of them. Settings are the library's own defaults.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", (async || ()).with(handlers));
    let app = Router::new().route("/publish/{room}", post(publish)).with_state(io).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("client http://{address}\napi http://{address}");
    Ok(axum::serve(listener, app).await?)
}

/// A middleware: the connect handler itself may run after a client's first event.
async fn handlers(socket: SocketRef) -> Result<(), Infallible> {
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        let _ = ack.send(&());
    });
    Ok(())
}

async fn publish(
    State(io): State<SocketIo>,
    Path(room): Path<String>,
    data: String,
) -> &'static str {
    // An error names the sockets that it did not reach.
    let _ = io.to(room).emit("m", &data).await;
    "ok"
}
