//! A session's socket: written straight from the fan-out, with TLS or
//! without, by whoever has something to say; nothing waits.

use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind, IoSlice, Read as _, Result, Write};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::stream::ClientStream;

#[cfg(test)]
mod tests;

/// Records read in one go: of a client that sends nothing but empty ones, too.
const RECORDS: usize = 64;

/// A session's socket.
pub enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<Tls>),
}

/// An encrypted one.
pub struct Tls {
    stream: TcpStream,
    state: RefCell<ServerConnection>,
    /// There may be bytes that are decrypted and not read.
    unread: Cell<bool>,
}

/// A socket on its way to another thread.
pub enum Handed {
    /// As it is.
    Plain(StdTcpStream),
    /// Encrypted.
    Tls(StdTcpStream, Box<ServerConnection>),
}

/// A socket as rustls wants one.
struct Raw<'a>(&'a TcpStream);

// === impl Socket ===

impl Socket {
    /// As many of the bytes as it takes now. Over TLS what is taken may still
    /// have to go: see [`Socket::is_holding`].
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(tls) => tls.write(|writer| writer.write(bytes)),
        }
    }

    /// Reads what a write is about to read of the runtime's, and does nothing.
    pub fn fetch(&self) {
        if let Self::Plain(stream) = self {
            // Whether it is writable, the write asks again.
            let _ = stream.try_io(Interest::WRITABLE, || Ok(()));
        }
    }

    /// The same of several pieces.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(slices),
            Self::Tls(tls) => tls.write(|writer| writer.write_vectored(slices)),
        }
    }

    /// Whether it has taken bytes that the kernel has not: [`Socket::push`]
    /// when it is writable.
    pub fn is_holding(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.state.borrow().wants_write(),
        }
    }

    /// Hands what it holds to the kernel. An error of the kind `WouldBlock`:
    /// some is left.
    pub fn push(&self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.push(&mut tls.state.borrow_mut()),
        }
    }

    /// What is there; 0: the other side has ended.
    pub fn try_read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Ready when there may be something to read.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(context),
            Self::Tls(tls) if tls.unread.get() => {
                // No way around the runtime's fairness.
                ready!(tokio::task::coop::poll_proceed(context)).made_progress();
                Poll::Ready(Ok(()))
            }
            Self::Tls(tls) => tls.stream.poll_read_ready(context),
        }
    }

    /// The same, to be awaited.
    pub async fn readable(&self) -> Result<()> {
        std::future::poll_fn(|context| self.poll_read_ready(context)).await
    }

    /// Ready when it may take something.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream().poll_write_ready(context)
    }

    /// Says that nothing more will come.
    pub fn shutdown(&self) -> Result<()> {
        if let Self::Tls(tls) = self {
            let mut state = tls.state.borrow_mut();
            state.send_close_notify();
            // It goes or it doesn't: the other side reads the end either way.
            let _ = tls.push(&mut state);
        }
        socket2::SockRef::from(self.stream()).shutdown(Shutdown::Write)
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        }
    }
}

impl From<ClientStream> for Socket {
    fn from(stream: ClientStream) -> Self {
        match stream {
            ClientStream::Plain(stream) => Self::Plain(stream),
            ClientStream::Tls(tls) => {
                let (stream, state) = tls.into_inner();
                Self::Tls(Box::new(Tls::new(stream, state)))
            }
        }
    }
}

impl TryFrom<Handed> for Socket {
    type Error = Error;

    /// To be called on the runtime that is to serve it.
    fn try_from(handed: Handed) -> Result<Self> {
        Ok(match handed {
            Handed::Plain(stream) => Self::Plain(TcpStream::from_std(stream)?),
            Handed::Tls(stream, state) => {
                Self::Tls(Box::new(Tls::new(TcpStream::from_std(stream)?, *state)))
            }
        })
    }
}

// === impl Handed ===

impl TryFrom<ClientStream> for Handed {
    type Error = Error;

    fn try_from(stream: ClientStream) -> Result<Self> {
        Ok(match stream {
            ClientStream::Plain(stream) => Self::Plain(stream.into_std()?),
            ClientStream::Tls(tls) => {
                let (stream, state) = tls.into_inner();
                Self::Tls(stream.into_std()?, Box::new(state))
            }
        })
    }
}

// === impl Tls ===

impl Tls {
    fn new(stream: TcpStream, state: ServerConnection) -> Self {
        // What came behind the handshake may be decrypted already.
        Self { stream, state: RefCell::new(state), unread: Cell::new(true) }
    }

    fn write(&self, write: impl FnOnce(&mut rustls::Writer<'_>) -> Result<usize>) -> Result<usize> {
        let mut state = self.state.borrow_mut();
        // What it may hold is bounded: the rest waits in the outbox.
        self.push(&mut state)?;
        let taken = write(&mut state.writer())?;
        match self.push(&mut state) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn push(&self, state: &mut ServerConnection) -> Result<()> {
        while state.wants_write() {
            if state.write_tls(&mut Raw(&self.stream))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut state = self.state.borrow_mut();
        for _ in 0..RECORDS {
            match state.reader().read(buffer) {
                Ok(length) => {
                    self.unread.set(length == buffer.len());
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It ended without a word; so do many.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            self.unread.set(false);
            state.read_tls(&mut Raw(&self.stream))?;
            if let Err(error) = state.process_new_packets() {
                // The other side is told why, if it listens.
                let _ = self.push(&mut state);
                return Err(Error::new(ErrorKind::InvalidData, error));
            }
            // Answers of the protocol's own; the next write brings the rest.
            match self.push(&mut state) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        self.unread.set(true);
        Err(ErrorKind::WouldBlock.into())
    }
}

// === impl Raw ===

impl std::io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
