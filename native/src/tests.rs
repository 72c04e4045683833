//! The transport against a client that may say what no honest one would, over a pipe in memory; a task stands for Python's loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::bridge::{Bridge, Command, Event};
use crate::connection;
use crate::grpc::tests::frame;
use crate::grpc::{self, Status};
use crate::server::{Method, Options, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const MESSAGE_BYTES_MAX: usize = 100_000;

fn options() -> Options {
    Options {
        message_bytes_max: MESSAGE_BYTES_MAX,
        metadata_bytes_max: 16 << 10,
        streams_per_connection_max: 10,
        calls_per_connection_max: 20,
        age: Duration::from_secs(1000),
        age_grace: Duration::from_secs(1000),
        keepalive: Duration::from_secs(1000),
        keepalive_timeout: Duration::from_secs(1000),
        handshake: Duration::from_secs(1000),
    }
}

fn server(options: Options) -> Arc<Server> {
    let method = |path: &str, request_streaming, response_streaming| (path.to_owned(), Method { request_streaming, response_streaming });
    let methods = vec![method("/echo", false, false), method("/silence", false, false), method("/talk", true, true)];
    let server = Arc::new(Server::new(Arc::new(Bridge::new().expect("an eventfd")), options, methods, None));
    tokio::spawn(answer(server.clone()));
    server
}

/// What handlers do: `/echo` and `/talk` repeat what they hear, `/silence` never answers.
async fn answer(server: Arc<Server>) {
    loop {
        for event in server.bridge.take() {
            match event {
                Event::Call { info, message: Some(message) } if info.method == 0 => {
                    server.obey(Command::Reply { id: info.id, frame: frame(&message) });
                }
                Event::Messages { id, messages } => {
                    let frames: Vec<u8> = messages.iter().flat_map(|message| frame(message).to_vec()).collect();
                    server.obey(Command::Write { id, frame: frames.into() });
                    server.obey(Command::Consumed { id, bytes: messages.iter().map(Bytes::len).sum() });
                }
                Event::End { id } => server.obey(Command::Finish { id, status: Status::new(grpc::OK, "") }),
                Event::Cancel { id } => server.obey(Command::Done { id }),
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn connect(server: &Arc<Server>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(connection::serve(server.connected(), Box::new(theirs), "pipe".into()));
    ours
}

async fn client(server: &Arc<Server>) -> SendRequest<Bytes> {
    let (client, connection) = client::handshake(connect(server)).await.expect("a greeting");
    tokio::spawn(connection);
    client.ready().await.expect("a connection")
}

fn request(path: &str) -> http::request::Builder {
    Request::post(format!("http://pipe{path}")).header("content-type", "application/grpc")
}

/// The answer's HTTP status, its bytes, and its trailers; those of an answer without messages are its headers.
async fn ask(client: &mut SendRequest<Bytes>, request: http::request::Builder, body: &[u8]) -> (StatusCode, Bytes, HeaderMap) {
    let (response, mut sending) = client.send_request(request.body(()).expect("a request"), false).expect("a stream");
    let _refused = sending.send_data(Bytes::copy_from_slice(body), true);
    let (head, mut body) = tokio::time::timeout(PATIENCE, response).await.expect("in time").expect("an answer").into_parts();
    let mut data = Vec::new();
    while let Some(piece) = body.data().await.transpose().expect("data") {
        body.flow_control().release_capacity(piece.len()).expect("an open stream");
        data.extend_from_slice(&piece);
    }
    let trailers = trailers(&mut body).await;
    (head.status, Bytes::from(data), trailers.unwrap_or(head.headers))
}

async fn trailers(body: &mut RecvStream) -> Option<HeaderMap> {
    body.trailers().await.unwrap_or_default()
}

fn code(headers: &HeaderMap) -> u8 {
    headers["grpc-status"].to_str().ok().and_then(|text| text.parse().ok()).expect("a status")
}

#[tokio::test]
async fn a_message_comes_back() {
    let mut client = client(&server(options())).await;
    for size in [0, 1, 1000, MESSAGE_BYTES_MAX] {
        let body = frame(&vec![7; size]);
        let (status, data, trailers) = ask(&mut client, request("/echo"), &body).await;
        assert_eq!((status, code(&trailers)), (StatusCode::OK, grpc::OK), "{size}");
        assert_eq!(data, body);
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_in_its_own_way() {
    let server = server(options());
    let mut client = client(&server).await;
    let body = frame(b"x");
    let get = Request::get("http://pipe/echo").header("content-type", "application/grpc");
    assert_eq!(ask(&mut client, get, b"").await.0, StatusCode::METHOD_NOT_ALLOWED);
    for wrong in ["application/json", "application/grpcx", "text/html"] {
        let json = Request::post("http://pipe/echo").header("content-type", wrong);
        assert_eq!(ask(&mut client, json, &body).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let long = request("/echo").header("x", "y".repeat(17 << 10));
    let lzw = request("/echo").header("grpc-encoding", "lzw");
    let late = request("/echo").header("grpc-timeout", "soon");
    for (request, body, expected) in [
        (request("/nowhere"), &body[..], grpc::UNIMPLEMENTED),
        (long, &body, grpc::RESOURCE_EXHAUSTED),
        (late, &body, grpc::INVALID_ARGUMENT),
        (lzw, &body, grpc::UNIMPLEMENTED),
        (request("/echo"), &b""[..], grpc::UNIMPLEMENTED),
        (request("/echo"), &[0, 0, 0], grpc::UNIMPLEMENTED),
        (request("/echo"), &[0, 0, 0, 0, 5, 1], grpc::UNIMPLEMENTED),
        (request("/echo"), &[&body[..], &body].concat(), grpc::UNIMPLEMENTED),
        (request("/echo"), &[9, 0, 0, 0, 0], grpc::INTERNAL),
        (request("/echo"), &[1, 0, 0, 0, 1, 5], grpc::INTERNAL),
        (request("/echo"), &[0, 255, 255, 255, 255], grpc::RESOURCE_EXHAUSTED),
        (request("/talk"), &[0, 0, 0, 0, 5, 1], grpc::INTERNAL),
    ] {
        let (status, _, trailers) = ask(&mut client, request, body).await;
        assert_eq!((status, code(&trailers)), (StatusCode::OK, expected), "{body:?}");
        assert_eq!(ask(&mut client, self::request("/echo"), &frame(b"x")).await.1, frame(b"x"), "the connection lives on");
    }
}

#[tokio::test]
async fn a_call_whose_client_never_gives_up_ends_at_its_deadline() {
    let mut client = client(&server(options())).await;
    for path in ["/silence", "/talk"] {
        let (response, mut sending) =
            client.send_request(request(path).header("grpc-timeout", "30m").body(()).expect("a request"), false).expect("a stream");
        sending.send_data(frame(b"x"), path == "/silence").expect("an open stream");
        let (head, mut body) = tokio::time::timeout(PATIENCE, response).await.expect("in time").expect("an answer").into_parts();
        while body.data().await.is_some() {}
        assert_eq!(code(&trailers(&mut body).await.unwrap_or(head.headers)), grpc::DEADLINE_EXCEEDED);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_own_connection_only() {
    let server = server(options());
    let mut client = client(&server).await;
    let (_response, mut sending) = client.send_request(request("/talk").body(()).expect("a request"), false).expect("a stream");
    let mut taken = 0;
    let flood = async {
        loop {
            sending.reserve_capacity(50_000);
            let room = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await.expect("open").expect("open");
            if room >= 50_000 {
                sending.send_data(frame(&vec![1; 49_995]), false).expect("open");
                taken += 50_000;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), flood).await.is_err());
    assert!(taken < 4 << 20, "{taken} bytes wait here");
    let mut other = self::client(&server).await;
    assert_eq!(ask(&mut other, request("/echo"), &frame(b"x")).await.1, frame(b"x"));
}

#[tokio::test]
async fn calls_given_up_at_once_leave_nothing_and_end_their_connection_where_there_is_nothing_else() {
    let server = server(options());
    for pause in [10, usize::MAX] {
        let mut client = client(&server).await;
        for call in 0..20_000 {
            if call % pause == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let Ok(ready) = client.clone().ready().await else { break };
            client = ready;
            let Ok((_, mut sending)) = client.send_request(request("/silence").body(()).expect("a request"), false) else { break };
            let _gone = sending.send_data(frame(b"x"), true);
            sending.send_reset(Reason::CANCEL);
        }
        if let Err(left) = client.ready().await {
            assert_eq!(left.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{left}");
            assert_eq!(pause, usize::MAX, "an honest client that gives up is served");
        }
    }
    while server.calls_under_way() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut client = client(&server).await;
    assert_eq!(ask(&mut client, request("/echo"), &frame(b"x")).await.1, frame(b"x"));
}

#[tokio::test]
async fn an_old_connection_is_left_without_losing_a_call() {
    let young = Options { age: Duration::from_millis(50), keepalive: Duration::from_millis(10), ..options() };
    let server = server(young);
    let mut served = 0;
    for _ in 0..3 {
        let mut client = client(&server).await;
        while let Ok(ready) = tokio::time::timeout(PATIENCE, client.clone().ready()).await.expect("in time") {
            client = ready;
            let (response, mut sending) = client.send_request(request("/echo").body(()).expect("a request"), false).expect("a stream");
            if sending.send_data(frame(b"x"), true).is_err() {
                break;
            }
            match tokio::time::timeout(PATIENCE, response).await.expect("in time") {
                Ok(_) => served += 1,
                Err(left) => {
                    assert!(left.is_go_away() && left.reason() == Some(Reason::NO_ERROR), "{left}");
                    break;
                }
            }
        }
    }
    assert!(served > 30, "{served}");
}

const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What comes until the server closes.
async fn rest(mut pipe: DuplexStream) -> Vec<u8> {
    let mut found = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, pipe.read_to_end(&mut found)).await.expect("the server closes");
    closed.map(|_| found).unwrap_or_default()
}

#[tokio::test]
async fn who_says_nothing_is_left() {
    let hasty = || Options {
        handshake: Duration::from_millis(50),
        keepalive: Duration::from_millis(50),
        keepalive_timeout: Duration::from_millis(50),
        ..options()
    };
    for greeting in [&b""[..], b"PRI", GREETING] {
        let mut pipe = connect(&server(hasty()));
        pipe.write_all(greeting).await.expect("an open pipe");
        rest(pipe).await;
    }
    let mut client = client(&server(hasty())).await; // it answers pings
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(ask(&mut client, request("/echo"), &frame(b"x")).await.1, frame(b"x"));
}

#[tokio::test]
async fn floods_end_their_connection() {
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[1; 8]].concat();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let priority = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    for frame in [&ping[..], &settings, &priority] {
        let (mut reading, mut writing) = tokio::io::split(connect(&server(options())));
        let flood = tokio::spawn({
            let frames = frame.repeat(100);
            async move {
                let _closed = writing.write_all(GREETING).await;
                while writing.write_all(&frames).await.is_ok() {}
            }
        });
        let mut found = Vec::new();
        tokio::time::timeout(PATIENCE, reading.read_to_end(&mut found)).await.expect("the server closes").expect("a pipe");
        let calm = [0, 0, 0, 11]; // ENHANCE_YOUR_CALM
        assert!(found.windows(4).any(|bytes| bytes == calm), "{frame:?}");
        drop(reading);
        flood.abort();
    }
}
