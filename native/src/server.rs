//! The transport's thread: what it listens on, its connections, and the commands that it gets.

use std::collections::HashMap;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

use crate::bridge::{Bridge, Command, Event, Level, lock};
use crate::call::Slot;
use crate::connection;
use crate::tls::Certificates;
use crate::wire::Socket;

/// Pause after a connection could not be accepted: most often too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections get to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_millis(200);

pub struct Options {
    pub message_bytes_max: usize,
    pub metadata_bytes_max: usize,
    pub streams_per_connection_max: u32,
    pub calls_per_connection_max: usize,
    pub age: Duration,
    pub age_grace: Duration,
    pub keepalive: Duration,
    pub keepalive_timeout: Duration,
    pub handshake: Duration,
}

#[derive(Clone, Copy)]
pub struct Method {
    pub request_streaming: bool,
    pub response_streaming: bool,
}

/// What the addresses of Unix sockets begin with.
pub const UNIX: &str = "unix:";

pub const SERVING: u8 = 0;
pub const DRAINING: u8 = 1;
pub const STOPPING: u8 = 2;

pub struct Server {
    pub bridge: Arc<Bridge>,
    pub options: Options,
    pub methods: Vec<Method>,
    paths: HashMap<String, usize>,
    pub certificates: Option<Certificates>,
    calls: Mutex<HashMap<u64, Arc<Slot>>>,
    last_id: AtomicU64,
    phase: AtomicU8,
    listeners: AtomicUsize,
    connections: Mutex<Connections>,
    /// Told when the phase changes, and when the last connection ends.
    changed: Notify,
}

#[derive(Default)]
struct Connections {
    last_id: u64,
    wakers: HashMap<u64, Option<Waker>>,
}

impl Server {
    pub fn new(bridge: Arc<Bridge>, options: Options, methods: Vec<(String, Method)>, certificates: Option<Certificates>) -> Server {
        Server {
            bridge,
            options,
            methods: methods.iter().map(|(_, method)| *method).collect(),
            paths: methods.into_iter().enumerate().map(|(at, (path, _))| (path, at)).collect(),
            certificates,
            calls: Mutex::default(),
            last_id: AtomicU64::new(0),
            phase: AtomicU8::new(SERVING),
            listeners: AtomicUsize::new(0),
            connections: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub fn method(&self, path: &str) -> Option<usize> {
        self.paths.get(path).copied()
    }

    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub fn calls_under_way(&self) -> usize {
        lock(&self.calls).len()
    }

    /// A call that commands may come for.
    pub fn enter(&self, id: u64, slot: Arc<Slot>) {
        lock(&self.calls).insert(id, slot);
    }

    pub fn log(&self, level: Level, text: &'static str, reason: impl ToString) {
        self.bridge.push(Event::Log { level, text, reason: reason.to_string() });
    }

    fn set_phase(&self, phase: u8) {
        self.phase.fetch_max(phase, Ordering::AcqRel);
        for waker in lock(&self.connections).wakers.values_mut().filter_map(Option::take) {
            waker.wake();
        }
        self.changed.notify_waiters();
    }

    /// Remember a connection; it ends with what is answered.
    pub fn connected(self: &Arc<Self>) -> Registration {
        let mut connections = lock(&self.connections);
        connections.last_id += 1;
        let id = connections.last_id;
        connections.wakers.insert(id, None);
        Registration { server: self.clone(), id }
    }

    fn connections(&self) -> usize {
        lock(&self.connections).wakers.len()
    }

    fn tell_idle(&self) {
        if self.phase() != SERVING && self.connections() == 0 && self.listeners.load(Ordering::Relaxed) == 0 {
            self.bridge.push(Event::Idle);
            self.changed.notify_waiters();
        }
    }

    pub fn obey(&self, command: Command) {
        let slot = match &command {
            Command::Drain => return self.set_phase(DRAINING),
            Command::Stop => return self.set_phase(STOPPING),
            Command::Write { id, .. } | Command::Consumed { id, .. } => lock(&self.calls).get(id).cloned(),
            Command::Reply { id, .. } | Command::Finish { id, .. } | Command::Done { id } => lock(&self.calls).remove(id),
        };
        if let Some(slot) = slot {
            slot.deliver(command);
        }
    }

    /// Serve until the server is stopped.
    pub async fn run(self: Arc<Self>, listeners: Vec<Listener>) {
        self.listeners.store(listeners.len(), Ordering::Relaxed);
        for listener in listeners {
            tokio::spawn(self.clone().accept(listener));
        }
        let mut commands = Vec::new();
        while self.phase() != STOPPING {
            commands = self.bridge.commands(commands).await;
            for command in commands.drain(..) {
                self.obey(command);
            }
        }
        let goodbye = async {
            while self.connections() > 0 {
                let changed = self.changed.notified();
                if self.connections() > 0 {
                    changed.await;
                }
            }
        };
        let _late = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn accept(self: Arc<Self>, listener: Listener) {
        loop {
            let changed = self.changed.notified();
            if self.phase() != SERVING {
                break;
            }
            tokio::select! {
                accepted = listener.accept() => self.admit(accepted).await,
                () = changed => {}
            }
        }
        // whoever has connected already is served, and told to go elsewhere; closing the socket would cut them off
        while let Some(accepted) = listener.accept_now() {
            self.admit(accepted).await;
        }
        drop(listener);
        self.listeners.fetch_sub(1, Ordering::Relaxed);
        self.tell_idle();
    }

    async fn admit(self: &Arc<Self>, accepted: std::io::Result<(Box<dyn Socket>, String)>) {
        match accepted {
            Ok((socket, address)) => {
                let registration = self.connected();
                drop(tokio::spawn(connection::serve(registration, socket, address)));
            }
            Err(failed) => {
                self.log(Level::Warning, "a connection cannot be accepted", failed);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection in the server's list.
pub struct Registration {
    pub server: Arc<Server>,
    id: u64,
}

impl Registration {
    /// Wake `waker` when the phase changes.
    pub fn watch(&self, waker: &Waker) {
        if let Some(held) = lock(&self.server.connections).wakers.get_mut(&self.id) {
            if !held.as_ref().is_some_and(|held| held.will_wake(waker)) {
                *held = Some(waker.clone());
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.server.connections).wakers.remove(&self.id);
        if std::thread::panicking() {
            self.server.log(Level::Error, "a connection broke the transport", "a defect; standard error has its place");
        }
        self.server.tell_idle();
    }
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Adopt a socket that listens. The caller gives it away.
    pub fn adopt(fd: RawFd, unix: bool) -> std::io::Result<Listener> {
        // SAFETY: the caller has detached the descriptor for us; from here on it is closed by its owner alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if unix {
            let listener = StdUnixListener::from(fd);
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix(UnixListener::from_std(listener)?))
        } else {
            let listener = StdTcpListener::from(fd);
            listener.set_nonblocking(true)?;
            Ok(Listener::Tcp(TcpListener::from_std(listener)?))
        }
    }

    async fn accept(&self) -> std::io::Result<(Box<dyn Socket>, String)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn accept_now(&self) -> Option<std::io::Result<(Box<dyn Socket>, String)>> {
        match self.poll_accept(&mut std::task::Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(Ok(accepted)) => Some(Ok(accepted)),
            _ => None,
        }
    }

    fn poll_accept(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<(Box<dyn Socket>, String)>> {
        match self {
            Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(socket, address)| {
                let _slower = socket.set_nodelay(true); // a socket that has just died: its first read tells
                let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
                (Box::new(socket) as Box<dyn Socket>, format!("{family}:{address}"))
            }),
            Listener::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(socket, _)| (Box::new(socket) as Box<dyn Socket>, String::from(UNIX)))
            }
        }
    }
}
