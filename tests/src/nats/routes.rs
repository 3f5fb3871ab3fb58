//! The routes between nats-servers, through a door each, so that the one
//! between two of them can be cut.

// A harness fails the test that it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What a server says of itself at the latest when it has said so much.
const INTRODUCTION: usize = 8 << 10;

/// A door in front of each server's route listener.
pub struct Routes {
    doors: Vec<u16>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Pairs that may not speak, the lower index first.
    cut: HashSet<(usize, usize)>,
    open: Vec<Route>,
}

/// One connection from a server to another.
struct Route {
    pair: (usize, usize),
    ends: [TcpStream; 2],
}

// === impl Routes ===

impl Routes {
    /// Opens a door for each of the listeners at these ports. They end with
    /// the process.
    pub fn open(listeners: &[u16]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let doors = listeners.iter().enumerate().map(|(index, behind)| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let (state, behind) = (state.clone(), *behind);
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let state = state.clone();
                    std::thread::spawn(move || pass(stream, index, behind, &state));
                }
            });
            port
        });
        Self { doors: doors.collect(), state }
    }

    /// The port of a server's door.
    pub fn door(&self, index: usize) -> u16 {
        self.doors[index]
    }

    /// Cuts the route between two servers; neither reaches the other until
    /// [`Routes::mend`].
    ///
    /// # Panics
    ///
    /// When there is none: then nothing was cut.
    pub fn cut(&self, one: usize, other: usize) {
        let pair = (one.min(other), one.max(other));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut.insert(pair);
        let mut closed = 0;
        state.open.retain(|route| {
            if route.pair != pair {
                return true;
            }
            closed += 1;
            route.close();
            false
        });
        assert!(closed > 0, "no route between {one} and {other}");
    }

    /// All may speak again.
    pub fn mend(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cut.clear();
    }
}

/// Passes one connection on, as long as it may be.
fn pass(mut caller: TcpStream, index: usize, behind: u16, state: &Mutex<State>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", behind)) else { return };
    let (Ok(mut back), Ok(mut from)) = (caller.try_clone(), server.try_clone()) else { return };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    // Who calls stands in what it says first.
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let pair = loop {
        let Ok(read @ 1..) = caller.read(&mut buffer) else { break None };
        if server.write_all(&buffer[..read]).is_err() {
            break None;
        }
        said.extend_from_slice(&buffer[..read]);
        if let Some(caller) = named(&said) {
            break Some((caller.min(index), caller.max(index)));
        }
        assert!(said.len() < INTRODUCTION, "a server calls that doesn't say who it is");
    };
    if let Some(pair) = pair
        && let (Ok(one), Ok(other)) = (caller.try_clone(), server.try_clone())
    {
        let route = Route { pair, ends: [one, other] };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.cut.contains(&pair) {
            route.close();
        } else {
            state.open.push(route);
        }
        drop(state);
        let _ = std::io::copy(&mut caller, &mut server);
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// The index in `"server_name":"n1"`.
fn named(said: &[u8]) -> Option<usize> {
    let said = String::from_utf8_lossy(said);
    let (_, rest) = said.split_once("\"server_name\":\"n")?;
    rest.split_once('"')?.0.parse().ok()
}

// === impl Route ===

impl Route {
    fn close(&self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
