//! Harnesses for the suites in `tests/tests`: they try the built gateway from
//! outside, as its users do, and know nothing of its code.
//!
//! # Layout
//!
//! - [`gateway`]: starts the built `push-gateway` on free ports and ends it
//! - [`http`]: requests and answers; raw bytes over a socket
//! - [`api`]: what apps do: publish, read history
//! - [`engineio`]: the Engine.IO polling transport, one request at a time
//! - [`websocket`]: one WebSocket, frame by frame
//! - [`socketio`]: a Socket.IO client over either transport
//! - [`raw`]: a Socket.IO client that costs little
//! - [`plain`]: a client of `/ws`
//! - [`sse`]: a reader of `/sse`
//! - [`token`]: tokens as an app's own server would make them
//! - [`patience`]: how long a test waits before it gives up
//! - [`docs`]: runs the examples of the documentation
//! - [`conformance`]: the handlers that the official suites expect
//! - [`nats`]: real nats-servers
//! - [`kubernetes`]: a real Kubernetes
//! - [`apiserver`]: a real Kubernetes API server without nodes, and the operator
//! - [`balancer`]: sends every connection to any gateway
//! - [`proxies`]: HAProxy and nginx in front of a gateway
//! - [`fleet`]: many clients of every kind that come back by themselves
//! - [`hostile`]: attackers and good clients at one gateway
//! - [`churn`]: clients and attackers come and go, and memory doesn't grow
//! - [`kill`]: gateways and servers die, and every client ends with the stream's
//!   content
//! - [`measure`]: what it costs that many gateways are one service
//! - [`storm`]: a gateway with thousands of clients is killed
//! - [`relay`]: a relay with its feeds, whichever relay it is; this one is
//!   tried from inside
//!
//! A harness panics when the gateway doesn't answer at all: a test has
//! nothing better to do, and the message names what was waited for.

// A harness reports by panicking; see above. What is banned in `clippy.toml`
// is banned for the gateway: a test may sleep and read its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

pub mod api;
pub mod apiserver;
pub mod balancer;
pub mod churn;
pub mod conformance;
pub mod docs;
pub mod engineio;
pub mod fleet;
pub mod gateway;
pub mod hostile;
pub mod http;
pub mod kill;
pub mod kubernetes;
pub mod measure;
pub mod nats;
pub mod patience;
pub mod plain;
pub mod proxies;
pub mod raw;
pub mod relay;
pub mod socketio;
pub mod sse;
pub mod storm;
pub mod token;
pub mod websocket;

pub use gateway::Gateway;
pub use patience::{patiently, quiet};
