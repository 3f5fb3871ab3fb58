//! A connection whose client must take what it is sent.
//!
//! hyper waits for ever for a client that reads nothing. Such a connection
//! would keep a poll's answer, megabytes of it, long after its session ended,
//! and no limit on sessions would count it.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

use super::stream::ClientStream;

/// A client's connection while it speaks HTTP.
pub struct Patient<T = ClientStream> {
    inner: TokioIo<T>,
    patience: Duration,
    /// While the client takes nothing.
    end: Option<Pin<Box<Sleep>>>,
}

// === impl Patient ===

impl<T> Patient<T> {
    /// Ends with an error when the client takes nothing for so long.
    pub fn new(stream: T, patience: Duration) -> Self {
        Self { inner: TokioIo::new(stream), patience, end: None }
    }

    /// The connection, when it speaks HTTP no longer.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    fn watch<W>(&mut self, context: &mut Context<'_>, written: Poll<Result<W>>) -> Poll<Result<W>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let patience = self.patience;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(patience)));
        match end.as_mut().poll(context) {
            Poll::Ready(()) => {
                // hyper may ask once more.
                end.as_mut().reset(Instant::now());
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client takes nothing")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> Read for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Write for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // Over TLS, what was written may have to wait here.
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.watch(context, written)
    }
}
