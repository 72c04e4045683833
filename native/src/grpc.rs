//! gRPC over HTTP/2: prefixes of messages, compression, timeouts, statuses.

use std::io::Read;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

pub const PREFIX_BYTES: usize = 5;

pub const OK: u8 = 0;
pub const INVALID_ARGUMENT: u8 = 3;
pub const DEADLINE_EXCEEDED: u8 = 4;
pub const RESOURCE_EXHAUSTED: u8 = 8;
pub const UNIMPLEMENTED: u8 = 12;
pub const INTERNAL: u8 = 13;

pub const ENCODINGS: &str = "identity, deflate, gzip";

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How a call ends.
pub struct Status {
    pub code: u8,
    pub message: String,
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl Status {
    pub fn new(code: u8, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), metadata: Vec::new() }
    }

    fn into(self, headers: &mut HeaderMap) {
        headers.insert(STATUS, HeaderValue::from(u16::from(self.code)));
        if !self.message.is_empty() {
            headers.insert(MESSAGE, percent_encoded(&self.message));
        }
        headers.extend(self.metadata.into_iter().map(|(name, value)| (Some(name), value)));
    }

    pub fn trailers(self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(2);
        self.into(&mut headers);
        headers
    }

    /// The whole answer of a call without messages.
    pub fn trailers_only(self) -> Response<()> {
        let mut head = head();
        self.into(head.headers_mut());
        head
    }
}

pub fn ok_trailers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(STATUS, HeaderValue::from_static("0"));
    headers
}

/// What comes before the messages of an answer.
pub fn head() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers_mut().insert(ACCEPTED, HeaderValue::from_static(ENCODINGS));
    head
}

/// Add a frame that carries `message` uncompressed. It must have less than 4 GiB.
pub fn add_frame(frames: &mut BytesMut, message: &[u8]) {
    frames.reserve(PREFIX_BYTES + message.len());
    frames.put_u8(0);
    frames.put_u32(u32::try_from(message.len()).expect("messages are smaller than 4 GiB"));
    frames.put_slice(message);
}

fn percent_encoded(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII is a header value")
}

/// What `grpc-timeout` says: up to eight digits and a unit.
pub fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// How the messages of a call are compressed.
#[derive(Clone, Copy, PartialEq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    /// None: one that we do not know.
    pub fn of(headers: &HeaderMap) -> Option<Encoding> {
        match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Some(Encoding::Identity),
            Some(b"gzip") => Some(Encoding::Gzip),
            Some(b"deflate") => Some(Encoding::Deflate),
            Some(_) => None,
        }
    }
}

/// Puts messages together from the pieces in which they arrive.
pub struct Assembler {
    buffer: BytesMut,
    /// A piece that has been taken whole, as long as nothing had to be joined to it.
    piece: Bytes,
    encoding: Encoding,
    message_bytes_max: usize,
}

impl Assembler {
    pub fn new(encoding: Encoding, message_bytes_max: usize) -> Assembler {
        Assembler { buffer: BytesMut::new(), piece: Bytes::new(), encoding, message_bytes_max }
    }

    pub fn add(&mut self, piece: Bytes) {
        if self.buffer.is_empty() && self.piece.is_empty() {
            self.piece = piece;
            return;
        }
        if !self.piece.is_empty() {
            let first = std::mem::take(&mut self.piece);
            self.buffer.extend_from_slice(&first);
        }
        self.buffer.extend_from_slice(&piece);
    }

    pub fn is_empty(&self) -> bool {
        self.piece.is_empty() && self.buffer.is_empty()
    }

    /// The size of the message that begins what has come; None: not even its prefix is complete. Err: it is no message.
    fn prefix(&self) -> Result<Option<(bool, usize)>, Status> {
        let Some(prefix) = self.have().first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let size = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] > 1 {
            return Err(Status::new(INTERNAL, format!("a message begins with {}, not with its compression flag", prefix[0])));
        }
        if size > self.message_bytes_max {
            let text = format!("the message has {size} bytes, over the limit of {} for a message", self.message_bytes_max);
            return Err(Status::new(RESOURCE_EXHAUSTED, text));
        }
        Ok(Some((prefix[0] == 1, size)))
    }

    fn have(&self) -> &[u8] {
        if self.piece.is_empty() { &self.buffer } else { &self.piece }
    }

    /// Whether what has come may become a message.
    pub fn check(&self) -> Result<(), Status> {
        self.prefix().map(drop)
    }

    /// The next message that is complete. Err: how the call ends, because what has come is no message.
    pub fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((compressed, size)) = self.prefix()? else { return Ok(None) };
        if self.have().len() < PREFIX_BYTES + size {
            return Ok(None);
        }
        let message = self.cut(size);
        if compressed { self.decompressed(&message).map(Some) } else { Ok(Some(message)) }
    }

    fn cut(&mut self, size: usize) -> Bytes {
        if self.piece.is_empty() {
            self.buffer.advance(PREFIX_BYTES);
            self.buffer.split_to(size).freeze()
        } else {
            self.piece.advance(PREFIX_BYTES);
            self.piece.split_to(size)
        }
    }

    fn decompressed(&self, message: &[u8]) -> Result<Bytes, Status> {
        let mut reader: Box<dyn Read + '_> = match self.encoding {
            Encoding::Identity => return Err(Status::new(INTERNAL, "a message is compressed, but grpc-encoding names nothing")),
            Encoding::Gzip => Box::new(GzDecoder::new(message)),
            Encoding::Deflate => Box::new(ZlibDecoder::new(message)),
        };
        let mut found = Vec::new();
        // one byte more than the limit tells whether there is more; a small message that would become a huge one stops there
        match reader.by_ref().take(self.message_bytes_max as u64 + 1).read_to_end(&mut found) {
            Err(_) => Err(Status::new(INTERNAL, "a message cannot be decompressed")),
            Ok(size) if size > self.message_bytes_max => Err(Status::new(
                RESOURCE_EXHAUSTED,
                format!("the decompressed message is over the limit of {} bytes", self.message_bytes_max),
            )),
            Ok(_) => Ok(Bytes::from(found)),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn frame(message: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        add_frame(&mut frame, message);
        frame.freeze()
    }

    fn pieces(assembler: &mut Assembler, bytes: &[u8], size: usize) -> Vec<Bytes> {
        let mut found = Vec::new();
        for piece in bytes.chunks(size) {
            assembler.add(Bytes::copy_from_slice(piece));
            while let Some(message) = assembler.next().unwrap_or_else(|status| panic!("{}", status.message)) {
                found.push(message);
            }
        }
        found
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let messages: Vec<Vec<u8>> = (0..20usize).map(|n| vec![n as u8; n * n * 7 % 300]).collect();
        let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(message).to_vec()).collect();
        for size in 1..400 {
            let mut assembler = Assembler::new(Encoding::Identity, 1000);
            assert_eq!(pieces(&mut assembler, &bytes, size), messages);
            assert!(assembler.is_empty());
        }
    }

    #[test]
    fn a_large_message_is_refused_by_its_prefix() {
        let mut assembler = Assembler::new(Encoding::Identity, 10);
        assembler.add(Bytes::from_static(&[0, 0, 0, 0, 11]));
        assert!(assembler.next().is_err_and(|status| status.code == RESOURCE_EXHAUSTED));
    }

    #[test]
    fn a_message_that_grows_beyond_the_limit_is_refused() {
        let mut encoder = flate2::read::GzEncoder::new(std::io::repeat(0).take(1 << 20), flate2::Compression::best());
        let mut bomb = Vec::new();
        encoder.read_to_end(&mut bomb).expect("memory does not fail");
        let mut framed = frame(&bomb).to_vec();
        framed[0] = 1;
        let mut assembler = Assembler::new(Encoding::Gzip, 1 << 19);
        assembler.add(Bytes::from(framed.clone()));
        assert!(assembler.next().is_err_and(|status| status.code == RESOURCE_EXHAUSTED));
        let mut assembler = Assembler::new(Encoding::Gzip, 1 << 20);
        assembler.add(Bytes::from(framed));
        assert!(assembler.next().is_ok_and(|message| message.is_some_and(|all| all.len() == 1 << 20)));
    }

    #[test]
    fn timeouts_have_a_unit_and_at_most_eight_digits() {
        let of = |text: &'static str| timeout(&HeaderValue::from_static(text));
        assert_eq!(of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("1n"), Some(Duration::from_nanos(1)));
        for wrong in ["", "S", "5", "5s", "-5S", "123456789S", "5 S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn texts_of_statuses_are_percent_encoded() {
        assert_eq!(percent_encoded("100 % ü\n").as_bytes(), b"100 %25 %C3%BC%0A");
    }
}
