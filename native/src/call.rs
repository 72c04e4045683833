//! One call: from the headers of its stream to its trailers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Sleep;

use crate::bridge::{Command, Event, Level, lock};
use crate::grpc::{self, Assembler, Encoding, Status};
use crate::server::Server;

/// Bytes of a stream's messages that wait for their handler; what is beyond them waits at the client.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Written bytes after which a handler is told that they have left.
const REPORTED_BYTES: usize = 32 << 10;
/// What is handed to the connection of one message at a time.
const PORTION_BYTES: usize = 64 << 10;
/// Timeouts beyond this are none.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 86_400);
/// What each field of the headers counts beyond its name and value, as HTTP/2 has it.
const FIELD_BYTES: usize = 32;

/// Who calls, and over what.
pub struct Peer {
    pub address: String,
    /// Names in the client's certificate; empty where it showed none.
    pub identities: Vec<Vec<u8>>,
    /// Calls of this connection whose handlers have not ended.
    pub alive: AtomicUsize,
}

/// What a handler may ask about its call.
pub struct CallInfo {
    pub id: u64,
    pub method: usize,
    pub deadline: Option<Instant>,
    pub headers: HeaderMap,
    pub peer: Arc<Peer>,
}

/// Where the commands for a call arrive.
pub struct Slot {
    peer: Arc<Peer>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    commands: VecDeque<Command>,
    waker: Option<Waker>,
}

impl Slot {
    pub fn deliver(&self, command: Command) {
        let mut state = lock(&self.state);
        state.commands.push_back(command);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Command> {
        let mut state = lock(&self.state);
        if let Some(command) = state.commands.pop_front() {
            return Poll::Ready(command);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.peer.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a call ends before its handler has said how.
enum Broken {
    /// The client has gone.
    Gone,
    Refused(Status),
}

impl From<h2::Error> for Broken {
    fn from(_: h2::Error) -> Broken {
        Broken::Gone
    }
}

impl From<Status> for Broken {
    fn from(status: Status) -> Broken {
        Broken::Refused(status)
    }
}

/// Serve one stream of a connection.
pub async fn serve(server: Arc<Server>, peer: Arc<Peer>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if peer.alive.load(Ordering::Relaxed) >= server.options.calls_per_connection_max {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let (head, body) = request.into_parts();
    let admitted = match admit(&server, &head) {
        Ok(admitted) => admitted,
        Err(answer) => {
            let _gone = respond.send_response(*answer, true);
            return;
        }
    };
    let deadline = admitted.timeout.map(|timeout| Instant::now() + timeout);
    let info = CallInfo { id: server.next_id(), method: admitted.method, deadline, headers: head.headers, peer };
    let mut alarm = pin!(tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()));
    let mut call = Call {
        server,
        id: info.id,
        incoming: Incoming { body, assembler: admitted.assembler, ended: false },
        respond,
        sending: None,
        alarm: deadline.map(|_| alarm.as_mut()),
        announced: None,
    };
    if let Err(broken) = call.run(info).await {
        call.fail(broken);
    }
}

struct Admitted {
    method: usize,
    timeout: Option<Duration>,
    assembler: Assembler,
}

fn admit(server: &Server, head: &http::request::Parts) -> Result<Admitted, Box<Response<()>>> {
    let refused = |code, text: String| Box::new(Status::new(code, text).trailers_only());
    if head.method != Method::POST {
        return Err(plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if !content_type.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';'))) {
        return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum();
    if size > server.options.metadata_bytes_max {
        let text = format!("the metadata have {size} bytes, over the limit of {}", server.options.metadata_bytes_max);
        return Err(refused(grpc::RESOURCE_EXHAUSTED, text));
    }
    let Some(method) = server.method(head.uri.path()) else {
        return Err(refused(grpc::UNIMPLEMENTED, "this server has no such method".into()));
    };
    let timeout = match head.headers.get("grpc-timeout") {
        None => None,
        Some(value) => match grpc::timeout(value) {
            None => return Err(refused(grpc::INVALID_ARGUMENT, "grpc-timeout is up to eight digits and a unit".into())),
            found => found.filter(|timeout| *timeout <= TIMEOUT_MAX),
        },
    };
    let Some(encoding) = Encoding::of(&head.headers) else {
        return Err(refused(grpc::UNIMPLEMENTED, format!("messages may be compressed with {}, and in no other way", grpc::ENCODINGS)));
    };
    Ok(Admitted { method, timeout, assembler: Assembler::new(encoding, server.options.message_bytes_max) })
}

fn plain(code: StatusCode) -> Box<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    Box::new(response)
}

struct Call<'a> {
    server: Arc<Server>,
    id: u64,
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    /// Since the headers of the answer have been sent.
    sending: Option<SendStream<Bytes>>,
    /// Rings when the call is late.
    alarm: Option<Pin<&'a mut Sleep>>,
    /// Since the handler knows of the call.
    announced: Option<Arc<Slot>>,
}

impl Call<'_> {
    async fn run(&mut self, info: CallInfo) -> Result<(), Broken> {
        let method = self.server.methods[info.method];
        if method.request_streaming {
            self.announce(info, None);
            return Talk::default().run(self).await;
        }
        let message = poll_fn(|cx| self.poll_single(cx)).await?;
        self.announce(info, Some(message));
        if method.response_streaming {
            return Talk::of_one_message().run(self).await;
        }
        match poll_fn(|cx| self.poll_command(cx)).await? {
            Command::Reply { frame, .. } if frame.len() <= PORTION_BYTES => {
                let mut sending = self.respond.send_response(grpc::head(), false)?;
                sending.send_data(frame, false)?;
                sending.send_trailers(grpc::ok_trailers())?;
                Ok(())
            }
            Command::Finish { status, .. } => self.finish(status),
            other => {
                let mut talk = Talk::of_one_message();
                talk.obey(other);
                talk.run(self).await
            }
        }
    }

    /// Tell the loop of the call.
    fn announce(&mut self, info: CallInfo, message: Option<Bytes>) {
        info.peer.alive.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot { peer: info.peer.clone(), state: Mutex::default() });
        self.server.enter(self.id, slot.clone());
        self.announced = Some(slot);
        self.server.bridge.push(Event::Call { info, message });
    }

    /// The one message of a call that has one, and nothing after it.
    fn poll_single(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        self.poll_late(cx)?;
        let cardinality = || Status::new(grpc::UNIMPLEMENTED, "the method takes one message");
        loop {
            if !self.incoming.ended {
                ready!(self.incoming.poll_piece(cx))?;
                if !self.incoming.ended {
                    self.incoming.assembler.check()?;
                    continue;
                }
            }
            let message = self.incoming.assembler.next()?.ok_or_else(cardinality)?;
            return Poll::Ready(if self.incoming.assembler.is_empty() { Ok(message) } else { Err(cardinality().into()) });
        }
    }

    /// The next command of the handler.
    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Result<Command, Broken>> {
        let slot = self.announced.as_ref().expect("commands come to calls that are announced");
        if let Poll::Ready(command) = slot.poll_next(cx) {
            return Poll::Ready(Ok(command));
        }
        self.poll_broken(cx).map(Err)
    }

    /// Ready when nobody waits for the answer any more.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        if let Err(late) = self.poll_late(cx) {
            return Poll::Ready(late);
        }
        let reset = match &mut self.sending {
            Some(sending) => sending.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| Broken::Gone)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        match self.alarm.as_mut().map(|alarm| alarm.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Err(Status::new(grpc::DEADLINE_EXCEEDED, "the call's time has run out").into()),
            _ => Ok(()),
        }
    }

    fn sending(&mut self) -> Result<&mut SendStream<Bytes>, Broken> {
        if self.sending.is_none() {
            self.sending = Some(self.respond.send_response(grpc::head(), false)?);
        }
        Ok(self.sending.as_mut().expect("it has just been set"))
    }

    fn finish(&mut self, status: Status) -> Result<(), Broken> {
        match &mut self.sending {
            Some(sending) => sending.send_trailers(status.trailers())?,
            None => drop(self.respond.send_response(status.trailers_only(), true)?),
        }
        Ok(())
    }

    /// End the call without its handler.
    fn fail(&mut self, broken: Broken) {
        if self.announced.is_some() {
            self.server.bridge.push(Event::Cancel { id: self.id });
        }
        if let Broken::Refused(status) = broken {
            let _gone = self.finish(status);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = String::from("a defect of the transport ended a call; standard error has its place");
            self.server.bridge.push(Event::Log { level: Level::Error, text: "a call broke the transport", reason });
            if self.announced.is_some() {
                self.server.bridge.push(Event::Cancel { id: self.id });
            }
        }
    }
}

/// The client's half of a stream.
struct Incoming {
    body: RecvStream,
    assembler: Assembler,
    ended: bool,
}

impl Incoming {
    /// Take one more piece, or learn that there is none.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(piece)) => {
                let size = piece.len();
                self.assembler.add(piece);
                self.body.flow_control().release_capacity(size)?;
                self.ended = self.body.is_end_stream();
                Poll::Ready(Ok(()))
            }
            Some(Err(_)) => Poll::Ready(Err(Broken::Gone)),
            None => {
                self.ended = true;
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// A call whose answer is a stream, or whose questions are.
#[derive(Default)]
struct Talk {
    /// What is left of the message that is being sent.
    frame: Bytes,
    /// How the call ends once that is sent.
    last: Option<Status>,
    written: usize,
    /// Bytes that the handler has not taken yet.
    waiting: usize,
    /// The handler knows that no more messages come.
    told_end: bool,
}

impl Talk {
    /// The one message of the client has been handed over already.
    fn of_one_message() -> Talk {
        Talk { told_end: true, ..Talk::default() }
    }

    async fn run(mut self, call: &mut Call<'_>) -> Result<(), Broken> {
        poll_fn(|cx| self.poll(call, cx)).await
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reply { frame, .. } => (self.frame, self.last) = (frame, Some(Status::new(grpc::OK, ""))),
            Command::Write { frame, .. } => self.frame = frame,
            Command::Finish { status, .. } => self.last = Some(status),
            Command::Consumed { bytes, .. } => self.waiting = self.waiting.saturating_sub(bytes),
            Command::Done { .. } | Command::Drain | Command::Stop => {}
        }
    }

    fn poll(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.frame.is_empty() && self.poll_frame(call, cx)?.is_pending() {
                break;
            }
            if let Some(status) = self.last.take() {
                return Poll::Ready(call.finish(status));
            }
            let slot = call.announced.as_ref().expect("a talk is announced");
            match slot.poll_next(cx) {
                Poll::Ready(command) => self.obey(command),
                Poll::Pending => break,
            }
        }
        self.poll_messages(call, cx)?;
        call.poll_broken(cx).map(Err)
    }

    /// Send the message as far as the client's window has room.
    fn poll_frame(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let sending = call.sending()?;
        while !self.frame.is_empty() {
            sending.reserve_capacity(self.frame.len().min(PORTION_BYTES));
            let mut room = sending.capacity();
            if room == 0 {
                room = match ready!(sending.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => return Poll::Ready(Err(Broken::Gone)),
                };
            }
            let portion = self.frame.split_to(room.min(self.frame.len()));
            self.written += portion.len();
            sending.send_data(portion, false)?;
        }
        if self.written >= REPORTED_BYTES {
            let bytes = std::mem::take(&mut self.written);
            call.server.bridge.push(Event::Written { id: call.id, bytes });
        }
        Poll::Ready(Ok(()))
    }

    /// Hand messages to the handler as long as it takes them: all that have come as one event.
    fn poll_messages(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Result<(), Broken> {
        if self.told_end || self.waiting >= WAITING_BYTES_MAX {
            return Ok(());
        }
        let mut messages = Vec::new();
        let ended = self.poll_more(call, cx, &mut messages);
        if !messages.is_empty() {
            call.server.bridge.push(Event::Messages { id: call.id, messages });
        }
        if ended? {
            self.told_end = true;
            call.server.bridge.push(Event::End { id: call.id });
        }
        Ok(())
    }

    /// Add what has come to `messages`, as much as may wait for the handler; whether it was the last.
    fn poll_more(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>, messages: &mut Vec<Bytes>) -> Result<bool, Broken> {
        while self.waiting < WAITING_BYTES_MAX {
            if let Some(message) = call.incoming.assembler.next()? {
                self.waiting += message.len().max(1);
                messages.push(message);
            } else if call.incoming.ended {
                if !call.incoming.assembler.is_empty() {
                    return Err(Status::new(grpc::INTERNAL, "the last message is not complete").into());
                }
                return Ok(true);
            } else if call.incoming.poll_piece(cx)?.is_pending() {
                break;
            }
        }
        Ok(false)
    }
}
