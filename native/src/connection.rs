//! One connection: its handshakes, its streams, its pings, its age, and its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::time::{Instant, Sleep};

use crate::bridge::Level;
use crate::call::{self, Peer};
use crate::server::{DRAINING, Options, Registration, STOPPING, UNIX};
use crate::wire::{Socket, Wire};

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const SEND_BUFFER: usize = 256 << 10;
/// Resets of streams that nobody has looked at yet; more, and the client does nothing else.
const UNSEEN_RESETS_MAX: usize = 4000;
/// Room above our own limit for metadata, so that what is over it hears why.
const HEADER_ROOM: u32 = 240 << 10;
/// How long a closed connection is read, so that what the client still sends does not destroy what we have sent.
const LINGER: Duration = Duration::from_secs(1);

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>;

/// Serve one connection until it ends.
pub async fn serve(registration: Registration, socket: Box<dyn Socket>, address: String) {
    let server = &registration.server;
    let (socket, identities) = match &server.certificates {
        None => (socket, Vec::new()),
        Some(certificates) => match tokio::time::timeout(server.options.handshake, certificates.accept(server, socket)).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(_)) | Err(_) => return, // not our protocol, or a certificate that we do not trust: the client knows
        },
    };
    let peer = Arc::new(Peer { address, identities, alive: AtomicUsize::new(0) });
    let wire = Wire::new(socket, peer.address.starts_with(UNIX));
    if let Ok(Some(connection)) = tokio::time::timeout(server.options.handshake, greet(&registration, &wire)).await {
        let mut alarm = pin!(tokio::time::sleep(server.options.keepalive));
        Driver::new(&registration, connection, wire.clone(), peer).run(alarm.as_mut()).await;
    }
    let _silent = tokio::time::timeout(LINGER, wire.close()).await;
}

/// The first frames of both sides; None: that is no client of ours.
async fn greet(registration: &Registration, wire: &Wire) -> Option<Connection<Wire, Bytes>> {
    let mut handshake = pin!(builder(&registration.server.options).handshake::<Wire, Bytes>(wire.clone()));
    poll_fn(|cx| {
        registration.watch(cx.waker());
        let greeted = handshake.as_mut().poll(cx).map(Result::ok);
        match wire.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ if registration.server.phase() == STOPPING => Poll::Ready(None),
            _ => greeted,
        }
    })
    .await
}

fn builder(options: &Options) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(options.streams_per_connection_max)
        .max_header_list_size(u32::try_from(options.metadata_bytes_max).unwrap_or(u32::MAX - HEADER_ROOM) + HEADER_ROOM)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX);
    builder
}

struct Driver<'a> {
    registration: &'a Registration,
    connection: Connection<Wire, Bytes>,
    wire: Wire,
    peer: Arc<Peer>,
    pings: Option<PingPong>,
    /// Since when a ping has no answer.
    pinged: Option<Instant>,
    received: u64,
    old_at: Instant,
    /// When it ends, whatever is under way.
    end_at: Option<Instant>,
    leaving: bool,
    cut: bool,
}

#[allow(clippy::large_enum_variant)] // made and taken apart at once, for each call
enum Turn {
    Accepted(Accepted),
    Alarm,
    Broken,
}

impl<'a> Driver<'a> {
    fn new(registration: &'a Registration, mut connection: Connection<Wire, Bytes>, wire: Wire, peer: Arc<Peer>) -> Driver<'a> {
        let pings = connection.ping_pong();
        let old_at = Instant::now() + spread(registration.server.options.age, Arc::as_ptr(&peer) as usize);
        Driver { registration, connection, wire, peer, pings, pinged: None, received: 0, old_at, end_at: None, leaving: false, cut: false }
    }

    async fn run(mut self, mut alarm: Pin<&mut Sleep>) {
        loop {
            match poll_fn(|cx| self.poll(cx, alarm.as_mut())).await {
                Turn::Accepted(Some(Ok((request, respond)))) => {
                    drop(tokio::spawn(call::serve(self.registration.server.clone(), self.peer.clone(), request, respond)));
                }
                Turn::Accepted(Some(Err(_)) | None) | Turn::Broken => return,
                Turn::Alarm => alarm.as_mut().reset(self.look_after()),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<Turn> {
        self.registration.watch(cx.waker());
        self.follow_phase();
        let accepted = self.connection.poll_accept(cx);
        if self.wire.is_flooded() && !self.cut {
            self.registration.server.log(Level::Warning, "a client floods its connection", &self.peer.address);
            self.cut(Reason::ENHANCE_YOUR_CALM);
            return self.poll_again(cx);
        }
        if let Poll::Ready(accepted) = accepted {
            if accepted.is_none() {
                let _sent = self.wire.poll_send(cx);
            }
            return Poll::Ready(Turn::Accepted(accepted));
        }
        if let Poll::Ready(Err(_)) = self.wire.poll_send(cx) {
            return Poll::Ready(Turn::Broken);
        }
        if let (Some(_), Some(pings)) = (self.pinged, &mut self.pings) {
            if pings.poll_pong(cx).is_ready() {
                self.pinged = None;
            }
        }
        alarm.poll(cx).map(|()| Turn::Alarm)
    }

    fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Let go of the connection when the server does.
    fn follow_phase(&mut self) {
        match self.registration.server.phase() {
            DRAINING => self.leave(),
            STOPPING => self.cut(Reason::NO_ERROR),
            _ => {}
        }
    }

    /// Take no new calls: GOAWAY goes out twice, the second time with the last call that the client has sent before it knew.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.connection.graceful_shutdown();
        }
    }

    fn cut(&mut self, reason: Reason) {
        if !std::mem::replace(&mut self.cut, true) {
            self.connection.abrupt_shutdown(reason);
        }
    }

    /// Ask a silent client for a sign of life, and end a connection that is too old; when to look again.
    fn look_after(&mut self) -> Instant {
        let options = &self.registration.server.options;
        let now = Instant::now();
        if now >= self.old_at && self.end_at.is_none() {
            self.end_at = Some(now + options.age_grace);
            self.leave();
        }
        if self.end_at.is_some_and(|end| now >= end) {
            self.cut(Reason::NO_ERROR);
        }
        let received = self.wire.received();
        if std::mem::replace(&mut self.received, received) != received {
            self.pinged = None;
        } else if self.pinged.is_some_and(|since| now >= since + options.keepalive_timeout) {
            self.cut(Reason::NO_ERROR);
        } else if self.pinged.is_none() && self.pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
            self.pinged = Some(now);
        }
        let next = now + if self.pinged.is_some() { options.keepalive_timeout } else { options.keepalive };
        next.min(self.end_at.unwrap_or(self.old_at).max(now + Duration::from_millis(1)))
    }
}

/// `age` give or take a tenth, so that connections that came together do not leave together.
fn spread(age: Duration, seed: usize) -> Duration {
    let tenth = age / 10;
    age - tenth + tenth.mul_f64(2.0 * (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64)
}
