//! The two queues between the transport's thread and the thread of the event loop.
//!
//! Towards Python, events gather until the transport has nothing more to do, and one write to an eventfd wakes the loop for
//! all of them. Towards the transport, the loop hands over what it has once a tick, and one wake-up serves all of it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::call::CallInfo;
use crate::grpc::Status;

/// What the transport tells the loop.
pub enum Event {
    /// A call; its one message, where the method takes one.
    Call { info: CallInfo, message: Option<Bytes> },
    /// The next messages of a stream: all that have come and that its handler may have waiting.
    Messages { id: u64, messages: Vec<Bytes> },
    /// The client sends no more messages.
    End { id: u64 },
    /// The client has gone, or the call is late: nobody waits for an answer.
    Cancel { id: u64 },
    /// So many bytes that were written have left for the client.
    Written { id: u64, bytes: usize },
    /// Something for the log.
    Log { level: Level, text: &'static str, reason: String },
    /// There is no connection any more.
    Idle,
    /// The transport's thread has ended; where the reason is not empty, against its will.
    Ended { reason: String },
}

#[derive(Clone, Copy)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// What the loop tells the transport.
pub enum Command {
    /// The one answer of a call, which ends it. The bytes are a frame: a prefix of five bytes, then the message.
    Reply {
        id: u64,
        frame: Bytes,
    },
    /// Messages of a call that goes on: a frame of each, one after the other.
    Write {
        id: u64,
        frame: Bytes,
    },
    /// The end of a call.
    Finish {
        id: u64,
        status: Status,
    },
    /// The handler of a call that was cancelled has ended.
    Done {
        id: u64,
    },
    /// So many bytes of messages have been taken by the handler.
    Consumed {
        id: u64,
        bytes: usize,
    },
    Drain,
    Stop,
}

/// Events beyond which the loop is woken although the transport has more to do.
const EVENTS_MAX: usize = 128;

pub struct Bridge {
    inbound: Mutex<Inbound>,
    eventfd: OwnedFd,
    outbound: Mutex<Vec<Command>>,
    wake: Notify,
}

#[derive(Default)]
struct Inbound {
    events: Vec<Event>,
    signalled: bool,
}

impl Bridge {
    pub fn new() -> std::io::Result<Bridge> {
        // SAFETY: eventfd takes no pointer, and a descriptor that it answers is ours alone.
        let eventfd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(std::io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Bridge { inbound: Mutex::default(), eventfd, outbound: Mutex::default(), wake: Notify::new() })
    }

    pub fn fileno(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Add an event; the loop hears of it when the transport rests (`signal`), or when there are many.
    pub fn push(&self, event: Event) {
        let mut inbound = lock(&self.inbound);
        inbound.events.push(event);
        if inbound.events.len() >= EVENTS_MAX {
            self.wake_loop(&mut inbound);
        }
    }

    /// Wake the loop if there is something for it.
    pub fn signal(&self) {
        let mut inbound = lock(&self.inbound);
        if !inbound.events.is_empty() {
            self.wake_loop(&mut inbound);
        }
    }

    fn wake_loop(&self, inbound: &mut MutexGuard<'_, Inbound>) {
        if std::mem::replace(&mut inbound.signalled, true) {
            return;
        }
        let one = 1u64;
        // SAFETY: the eight bytes are there, and the descriptor is open as long as `self` is. It cannot fail short of an
        // overflow of the counter, which a reader that is already signalled would not mind.
        unsafe { libc::write(self.fileno(), (&raw const one).cast(), 8) };
    }

    /// All events so far.
    pub fn take(&self) -> Vec<Event> {
        let mut counter = 0u64;
        // SAFETY: as above; the descriptor does not block, and an empty one is no error to us.
        unsafe { libc::read(self.fileno(), (&raw mut counter).cast(), 8) };
        let mut inbound = lock(&self.inbound);
        inbound.signalled = false;
        std::mem::take(&mut inbound.events)
    }

    /// Hand commands to the transport.
    pub fn send(&self, commands: &mut Vec<Command>) {
        let was_empty = {
            let mut outbound = lock(&self.outbound);
            let was_empty = outbound.is_empty();
            outbound.append(commands);
            was_empty
        };
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// The next commands, none of which is lost where this is dropped.
    pub async fn commands(&self, spare: Vec<Command>) -> Vec<Command> {
        self.wake.notified().await;
        std::mem::replace(&mut *lock(&self.outbound), spare)
    }
}

/// The lock, whatever happened to others who held it: what it guards is whole after each statement.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
