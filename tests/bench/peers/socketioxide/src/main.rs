//! socketioxide on axum: clients join rooms, an HTTP route beside it emits to
//! one of them. Settings are the library's own defaults.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (layer, io) = SocketIo::new_layer();
    // Not async: the handler must be there before the client's first event.
    io.ns("/", |socket: SocketRef| {
        socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
            socket.join(room);
            let _ = ack.send(&());
        });
    });
    let app = Router::new().route("/publish/{room}", post(publish)).with_state(io).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("client http://{address}\napi http://{address}");
    Ok(axum::serve(listener, app).await?)
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
