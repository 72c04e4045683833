//! A connection's bytes: writes gather until the connection has nothing more to say, and frames are counted as they come.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::authority::Launderer;
use crate::bridge::lock;

/// What gathers before it is written whether or not the connection has more to say.
const GATHERED_BYTES_MAX: usize = 256 << 10;

/// Room that a connection keeps for its next writes.
const KEPT_BYTES_MAX: usize = 64 << 10;

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// The wire of one connection. The HTTP/2 state machine has one handle and its driver another.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<State>>);

struct State {
    socket: Box<dyn Socket>,
    gathered: BytesMut,
    meter: Meter,
    received: u64,
}

impl Wire {
    /// `unix`: the authority of requests may be the path of a socket.
    pub fn new(socket: Box<dyn Socket>, unix: bool) -> Wire {
        let meter = Meter::new(Instant::now(), unix.then(Launderer::new));
        Wire(Arc::new(Mutex::new(State { socket, gathered: BytesMut::new(), meter, received: 0 })))
    }

    /// Send what has gathered. Pending: the socket takes no more now, and wakes the task later.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }

    /// Bytes that have come so far.
    pub fn received(&self) -> u64 {
        lock(&self.0).received
    }

    /// Whether the client has sent more frames that ask for work, and carry no call, than an honest one would.
    pub fn is_flooded(&self) -> bool {
        lock(&self.0).meter.exhausted
    }

    /// Send what there is, say that no more comes, and take and forget what still does, until the client has closed its side:
    /// a socket that is closed over unread bytes takes back what it has sent.
    pub async fn close(mut self) {
        let shut = std::future::poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx)).await;
        if shut.is_err() {
            return;
        }
        let mut scratch = [0; 4096];
        let closed = std::future::poll_fn(|cx| {
            let mut state = lock(&self.0);
            loop {
                let mut buffer = ReadBuf::new(&mut scratch);
                match ready!(Pin::new(&mut state.socket).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        closed.await;
    }
}

impl State {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.gathered.has_remaining() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.gathered))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.meter.sent(sent);
            self.gathered.advance(sent);
        }
        if self.gathered.capacity() > KEPT_BYTES_MAX {
            self.gathered = BytesMut::new();
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Room for more; Pending: the socket must take something first.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut state.socket).poll_read(cx, buffer))?;
        let came = &mut buffer.filled_mut()[before..];
        state.received += came.len() as u64;
        state.meter.came(came);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        ready!(state.poll_room(cx))?;
        state.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        ready!(state.poll_room(cx))?;
        for piece in pieces {
            state.gathered.extend_from_slice(piece);
        }
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: the connection's driver sends when the state machine has no more to say, so that many answers are one write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        ready!(state.poll_send(cx))?;
        Pin::new(&mut state.socket).poll_shutdown(cx)
    }
}

const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const CREDIT_MAX: i64 = 2_000;
const CREDIT_A_SECOND: i64 = 200;

/// Counts frames as they pass. Frames that make us work without a call (pings, settings, resets, empty data) cost credit;
/// calls, data in either direction, and time earn it. An honest client never comes near the end of it.
struct Meter {
    /// What is left of the preface, or of a frame.
    skip: usize,
    header: [u8; HEADER_BYTES],
    have: usize,
    credit: i64,
    renewed: Instant,
    exhausted: bool,
    launderer: Option<Launderer>,
    in_headers: bool,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;

impl Meter {
    fn new(now: Instant, launderer: Option<Launderer>) -> Meter {
        Meter {
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            have: 0,
            credit: CREDIT_MAX,
            renewed: now,
            exhausted: false,
            launderer,
            in_headers: false,
        }
    }

    fn came(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let (skipped, rest) = bytes.split_at_mut(self.skip.min(bytes.len()));
            self.skip -= skipped.len();
            if let (true, Some(launderer)) = (self.in_headers, &mut self.launderer) {
                launderer.pass(skipped);
            }
            let (taken, rest) = rest.split_at_mut((HEADER_BYTES - self.have).min(rest.len()));
            self.header[self.have..self.have + taken.len()].copy_from_slice(taken);
            self.have += taken.len();
            bytes = rest;
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.skip = usize::from(self.header[0]) << 16 | usize::from(self.header[1]) << 8 | usize::from(self.header[2]);
                self.begin(self.header[3], self.header[4]);
                self.frame(self.header[3], self.skip);
            }
        }
    }

    fn begin(&mut self, kind: u8, flags: u8) {
        self.in_headers = matches!(kind, HEADERS | CONTINUATION);
        if let (HEADERS, Some(launderer)) = (kind, &mut self.launderer) {
            launderer.begin(flags & PADDED != 0, flags & PRIORITISED != 0);
        }
    }

    fn frame(&mut self, kind: u8, size: usize) {
        self.credit += match kind {
            DATA if size > 0 => 2,
            HEADERS => 4,
            SETTINGS => -10,
            _ => -1,
        };
        if self.credit < 0 {
            self.renew(Instant::now());
        }
        self.credit = self.credit.min(CREDIT_MAX);
    }

    fn renew(&mut self, now: Instant) {
        let earned = now.duration_since(self.renewed).as_millis() as i64 * CREDIT_A_SECOND / 1000;
        self.credit += earned.min(CREDIT_MAX);
        self.renewed = now;
        self.exhausted |= self.credit < 0;
    }

    fn sent(&mut self, bytes: usize) {
        self.credit = (self.credit + 1 + (bytes >> 10) as i64).min(CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frames(kind: u8, size: usize, count: usize) -> Vec<u8> {
        let mut one = vec![0, (size >> 8) as u8, size as u8, kind, 0, 0, 0, 0, 0];
        one.resize(HEADER_BYTES + size, 0);
        one.repeat(count)
    }

    #[test]
    fn a_flood_of_pings_is_noticed_however_it_is_cut() {
        for cut in [1, 7, 9, 17, 4096] {
            let mut meter = Meter::new(Instant::now() + Duration::from_secs(3600), None); // no time passes
            meter.came(&mut [0; PREFACE_BYTES]);
            for piece in frames(6, 8, 3 * CREDIT_MAX as usize).chunks_mut(cut) {
                meter.came(piece);
            }
            assert!(meter.exhausted, "{cut}");
        }
    }

    #[test]
    fn calls_that_are_given_up_and_long_streams_are_no_flood() {
        let mut meter = Meter::new(Instant::now() + Duration::from_secs(3600), None);
        meter.came(&mut [0; PREFACE_BYTES]);
        for _ in 0..10_000 {
            meter.came(&mut frames(1, 30, 1));
            meter.came(&mut frames(0, 100, 1));
            meter.came(&mut frames(8, 4, 2));
            meter.came(&mut frames(3, 4, 1));
        }
        assert!(!meter.exhausted);
    }
}
