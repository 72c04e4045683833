//! The native transport of chronoserve: gRPC over HTTP/2 in a thread of its own.
//!
//! The thread parses and frames without ever holding Python's lock. Python takes what has arrived and hands back what is to
//! be sent, each in batches; `chronoserve.wire.native` is the other half.

mod authority;
mod bridge;
mod call;
mod connection;
mod gets;
mod grpc;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64_metadata::{decoded, encoded};
use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use bridge::{Bridge, Command, Event, Level, lock};
use call::CallInfo;
use grpc::Status;
use server::{Listener, Method, Options, Server};
use tls::{Certificates, Files};

mod base64_metadata;

// kinds of events and commands, as `chronoserve.wire.native` knows them
const CALL: u8 = 0;
const MESSAGES: u8 = 1;
const END: u8 = 2;
const CANCEL: u8 = 3;
const WRITTEN: u8 = 4;
const LOG: u8 = 5;
const IDLE: u8 = 6;
const ENDED: u8 = 7;

const REPLY: u8 = 0;
const WRITE: u8 = 1;
const FINISH: u8 = 2;
const DONE: u8 = 3;
const CONSUMED: u8 = 4;
const DRAIN: u8 = 5;
const STOP: u8 = 6;

/// What a handler may ask about its call.
#[pyclass(frozen, module = "chronoserve_native")]
struct Call(CallInfo);

#[pymethods]
impl Call {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    /// Which of the methods that the transport was given.
    #[getter]
    fn method(&self) -> usize {
        self.0.method
    }

    /// Seconds until the client gives up; None: it has not said.
    fn time_remaining(&self) -> Option<f64> {
        let deadline = self.0.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Names and values; values of names in `-bin` are bytes.
    fn invocation_metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let mut found = Vec::new();
        for (name, value) in &self.0.headers {
            let name = name.as_str();
            if matches!(name, "content-type" | "te" | "grpc-timeout" | "grpc-encoding" | "grpc-accept-encoding") {
                continue;
            }
            let value = if name.ends_with("-bin") {
                match decoded(value.as_bytes()) {
                    Some(bytes) => PyBytes::new(py, &bytes).into_any(),
                    None => continue,
                }
            } else {
                PyString::new(py, &value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>()).into_any()
            };
            found.push((name, value).into_pyobject(py)?);
        }
        PyTuple::new(py, found)
    }

    fn peer(&self) -> &str {
        &self.0.peer.address
    }

    /// Names in the client's certificate; None where it showed none.
    fn peer_identities<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let names = &self.0.peer.identities;
        if names.is_empty() {
            return Ok(None);
        }
        PyTuple::new(py, names.iter().map(|name| PyBytes::new(py, name))).map(Some)
    }
}

/// The transport. `start`, then `take` whenever `fileno` is readable, and `send`.
#[pyclass(frozen, module = "chronoserve_native")]
struct Transport {
    bridge: Arc<Bridge>,
    server: Mutex<Option<Server>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[pymethods]
impl Transport {
    /// `methods`: paths with whether questions and answers are streams. `tls`: paths of certificate, key and client's authority.
    #[new]
    #[pyo3(signature = (methods, options, tls=None))]
    fn new(
        methods: Vec<(String, bool, bool)>,
        options: &Bound<'_, PyDict>,
        tls: Option<(PathBuf, PathBuf, Option<PathBuf>)>,
    ) -> PyResult<Transport> {
        let bridge = Arc::new(Bridge::new()?);
        let certificates = tls
            .map(|(certificate, key, client_ca)| Certificates::open(Files { certificate, key, client_ca }).map_err(PyValueError::new_err))
            .transpose()?;
        let methods = methods
            .into_iter()
            .map(|(path, request_streaming, response_streaming)| (path, Method { request_streaming, response_streaming }))
            .collect();
        let server = Server::new(bridge.clone(), read_options(options)?, methods, certificates);
        Ok(Transport { bridge, server: Mutex::new(Some(server)), thread: Mutex::default() })
    }

    /// Serve on sockets that listen already: descriptors that the caller gives away, and whether each is a Unix socket.
    fn start(&self, sockets: Vec<(i32, bool)>) -> PyResult<()> {
        let server = Arc::new(lock(&self.server).take().ok_or_else(|| PyRuntimeError::new_err("a transport starts once"))?);
        let bridge = self.bridge.clone();
        let resting = self.bridge.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(move || resting.signal()).build()?;
        let listeners = {
            let _inside = runtime.enter();
            let adopted: Vec<_> = sockets.into_iter().map(|(fd, unix)| Listener::adopt(fd, unix)).collect();
            adopted.into_iter().collect::<std::io::Result<Vec<_>>>()?
        };
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(server.run(listeners))));
            let reason = if ended.is_ok() { "" } else { "a defect of the transport; standard error has its place" };
            bridge.push(Event::Ended { reason: reason.into() });
            bridge.signal();
        };
        *lock(&self.thread) = Some(std::thread::Builder::new().name("transport".into()).spawn(run)?);
        Ok(())
    }

    fn fileno(&self) -> i32 {
        self.bridge.fileno()
    }

    /// What has arrived: (kind, call or its id, what it carries), oldest first.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut events = self.bridge.take();
        self.forget_cancelled(&mut events);
        let mut found = Vec::with_capacity(events.len());
        for event in events {
            found.push(event_object(py, event)?);
        }
        PyList::new(py, found)
    }

    /// Hand over commands: (kind, id of the call, …), oldest first. One that cannot be understood ends its call and no other's.
    fn send(&self, commands: &Bound<'_, PyList>) -> PyResult<()> {
        let mut read = Vec::with_capacity(commands.len());
        for command in commands {
            let command = command.cast::<PyTuple>()?;
            read.push(match command_of(command) {
                Ok(command) => command,
                Err(wrong) => self.spoilt(command.get_borrowed_item(1)?.extract()?, &wrong),
            });
        }
        self.bridge.send(&mut read);
        Ok(())
    }

    /// Wait for the end of the thread, which `STOP` has asked for; whether it came in time.
    fn join(&self, py: Python<'_>, seconds: f64) -> bool {
        let Some(thread) = lock(&self.thread).take() else { return true };
        py.detach(|| {
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished() && thread.join().is_ok()
        })
    }
}

impl Transport {
    /// The end of a call whose handler has answered what cannot be sent.
    fn spoilt(&self, id: u64, wrong: &PyErr) -> Command {
        self.bridge.push(Event::Log { level: Level::Error, text: "an answer cannot be sent", reason: wrong.to_string() });
        self.bridge.signal();
        Command::Finish { id, status: Status::new(grpc::INTERNAL, "the server failed; its log has the details") }
    }

    /// Calls that have come and gone before anybody looked cost the loop nothing.
    fn forget_cancelled(&self, events: &mut Vec<Event>) {
        let cancelled: HashSet<u64> =
            events.iter().filter_map(|event| if let Event::Cancel { id } = event { Some(*id) } else { None }).collect();
        if cancelled.is_empty() {
            return;
        }
        let mut unseen = HashSet::new();
        events.retain(|event| match event {
            Event::Call { info, .. } if cancelled.contains(&info.id) => {
                unseen.insert(info.id);
                false
            }
            Event::Messages { id, .. } | Event::End { id } | Event::Written { id, .. } | Event::Cancel { id } => !unseen.contains(id),
            _ => true,
        });
        self.bridge.send(&mut unseen.into_iter().map(|id| Command::Done { id }).collect());
    }
}

fn event_object<'py>(py: Python<'py>, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    match event {
        Event::Call { info, message } => (CALL, Call(info), message.map(|bytes| PyBytes::new(py, &bytes))).into_pyobject(py),
        Event::Messages { id, messages } => {
            let messages = PyList::new(py, messages.iter().map(|message| PyBytes::new(py, message)))?;
            (MESSAGES, id, messages).into_pyobject(py)
        }
        Event::End { id } => (END, id, py.None()).into_pyobject(py),
        Event::Cancel { id } => (CANCEL, id, py.None()).into_pyobject(py),
        Event::Written { id, bytes } => (WRITTEN, id, bytes).into_pyobject(py),
        Event::Log { level, text, reason } => {
            let level = match level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            (LOG, level, (text, reason)).into_pyobject(py)
        }
        Event::Idle => (IDLE, py.None(), py.None()).into_pyobject(py),
        Event::Ended { reason } => (ENDED, py.None(), reason).into_pyobject(py),
    }
}

fn command_of(command: &Bound<'_, PyTuple>) -> PyResult<Command> {
    let kind: u8 = command.get_borrowed_item(0)?.extract()?;
    let id = || -> PyResult<u64> { command.get_borrowed_item(1)?.extract() };
    Ok(match kind {
        REPLY => Command::Reply { id: id()?, frame: frame_of(&*command.get_borrowed_item(2)?)? },
        WRITE => Command::Write { id: id()?, frame: frames_of(&*command.get_borrowed_item(2)?)? },
        FINISH => Command::Finish { id: id()?, status: status_of(command)? },
        DONE => Command::Done { id: id()? },
        CONSUMED => Command::Consumed { id: id()?, bytes: command.get_borrowed_item(2)?.extract()? },
        DRAIN => Command::Drain,
        STOP => Command::Stop,
        other => return Err(PyValueError::new_err(format!("{other} is no kind of command"))),
    })
}

/// The frame of one message.
fn frame_of(message: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let mut frame = BytesMut::new();
    add_frame(&mut frame, message)?;
    Ok(frame.freeze())
}

/// The frames of a list of messages, one after the other.
fn frames_of(messages: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let mut frames = BytesMut::new();
    for message in messages.cast::<PyList>()? {
        add_frame(&mut frames, &message)?;
    }
    Ok(frames.freeze())
}

fn add_frame(frames: &mut BytesMut, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let message = message.cast::<PyBytes>()?.as_bytes();
    u32::try_from(message.len()).map_err(|_| PyValueError::new_err("a message has 4 GiB or more"))?;
    grpc::add_frame(frames, message);
    Ok(())
}

fn status_of(command: &Bound<'_, PyTuple>) -> PyResult<Status> {
    let code = command.get_borrowed_item(2)?.extract()?;
    let message: String = command.get_borrowed_item(3)?.extract()?;
    let metadata: Vec<(String, Bound<'_, PyAny>)> = command.get_borrowed_item(4)?.extract()?;
    let mut status = Status::new(code, message);
    for (name, value) in metadata {
        let wrong = |_| PyValueError::new_err(format!("{name} is no name of metadata, or its value is none"));
        let value = match value.cast::<PyBytes>() {
            Ok(bytes) if name.ends_with("-bin") => HeaderValue::try_from(encoded(bytes.as_bytes())),
            Ok(bytes) => HeaderValue::from_bytes(bytes.as_bytes()),
            Err(_) => HeaderValue::try_from(value.extract::<String>()?),
        };
        status.metadata.push((HeaderName::try_from(&name).map_err(|_| wrong(()))?, value.map_err(|_| wrong(()))?));
    }
    Ok(status)
}

fn read_options(options: &Bound<'_, PyDict>) -> PyResult<Options> {
    let get = |name: &str| options.get_item(name)?.ok_or_else(|| PyValueError::new_err(format!("the option {name} is missing")));
    let seconds = |name: &str| -> PyResult<Duration> {
        Duration::try_from_secs_f64(get(name)?.extract()?).map_err(|_| PyValueError::new_err(format!("{name} is no duration")))
    };
    Ok(Options {
        message_bytes_max: get("message_bytes_max")?.extract()?,
        metadata_bytes_max: get("metadata_bytes_max")?.extract()?,
        streams_per_connection_max: get("streams_per_connection_max")?.extract()?,
        calls_per_connection_max: get("calls_per_connection_max")?.extract()?,
        age: seconds("age_seconds")?,
        age_grace: seconds("age_grace_seconds")?,
        keepalive: seconds("keepalive_seconds")?,
        keepalive_timeout: seconds("keepalive_timeout_seconds")?,
        handshake: seconds("handshake_seconds")?,
    })
}

#[pymodule]
fn chronoserve_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(gets::known_gets, module)?)?;
    module.add_class::<Call>()?;
    module.add_class::<Transport>()
}
