//! Makes the authority of requests over Unix sockets one that our HTTP/2 library accepts.
//!
//! gRPC's C core and others name the socket's path there, percent-encoded, which is no host; the library resets such streams.
//! Nothing of ours looks at the authority. So the offending bytes are replaced where they stand in the header block, byte for
//! byte, before the library sees them. A name that is Huffman-coded is left alone.

const AUTHORITY: u64 = 1;
const NAME: &[u8] = b":authority";

/// Walks header blocks (HPACK, RFC 7541 §6) as they come, in pieces of any size.
pub struct Launderer {
    state: State,
    /// Bytes of this frame before its header block: the length of its padding, and its priority.
    preamble: usize,
}

#[derive(Clone, Copy)]
enum State {
    /// At the first byte of a field.
    Field,
    /// In the rest of an integer that ends a field.
    IndexTail,
    /// In the rest of a name's index.
    NameIndexTail {
        value: u64,
        shift: u32,
    },
    NameLength,
    NameLengthTail {
        value: u64,
        shift: u32,
    },
    Name {
        left: u64,
        at: usize,
        matches: bool,
    },
    ValueLength {
        authority: bool,
    },
    ValueLengthTail {
        value: u64,
        shift: u32,
        authority: bool,
    },
    Value {
        left: u64,
        launder: bool,
    },
}

impl Launderer {
    pub fn new() -> Launderer {
        Launderer { state: State::Field, preamble: 0 }
    }

    /// A frame of headers begins; `padded` and `prioritised` are its flags. What is behind the padding's length is not told
    /// apart from the block: padding is zeros, which read as fields without name and value, and change nothing.
    pub fn begin(&mut self, padded: bool, prioritised: bool) {
        self.state = State::Field;
        self.preamble = usize::from(padded) + if prioritised { 5 } else { 0 };
    }

    /// The next bytes of a frame of headers or of its continuation.
    pub fn pass(&mut self, bytes: &mut [u8]) {
        let skipped = self.preamble.min(bytes.len());
        self.preamble -= skipped;
        for byte in &mut bytes[skipped..] {
            self.state = step(self.state, byte);
        }
    }
}

fn step(state: State, byte: &mut u8) -> State {
    match state {
        State::Field => first(*byte),
        State::IndexTail if *byte & 0x80 != 0 => State::IndexTail,
        State::IndexTail => State::Field,
        State::NameIndexTail { value, shift } => match more(value, shift, *byte) {
            (value, Some(shift)) => State::NameIndexTail { value, shift },
            (value, None) => State::ValueLength { authority: value == AUTHORITY },
        },
        State::NameLength => match u64::from(*byte & 0x7f) {
            0x7f => State::NameLengthTail { value: 0x7f, shift: 0 },
            length => name(length, *byte & 0x80 == 0),
        },
        State::NameLengthTail { value, shift } => match more(value, shift, *byte) {
            (value, Some(shift)) => State::NameLengthTail { value, shift },
            (value, None) => name(value, false), // longer than the one that we look for
        },
        State::Name { left, at, matches } => {
            let matches = matches && NAME.get(at) == Some(&*byte);
            match left - 1 {
                0 => State::ValueLength { authority: matches },
                left => State::Name { left, at: at + 1, matches },
            }
        }
        State::ValueLength { authority } => {
            let authority = authority && *byte & 0x80 == 0;
            match u64::from(*byte & 0x7f) {
                0x7f => State::ValueLengthTail { value: 0x7f, shift: 0, authority },
                length => value(length, authority),
            }
        }
        State::ValueLengthTail { value: before, shift, authority } => match more(before, shift, *byte) {
            (value, Some(shift)) => State::ValueLengthTail { value, shift, authority },
            (length, None) => value(length, authority),
        },
        State::Value { left, launder } => {
            if launder && !(byte.is_ascii_alphanumeric() || matches!(*byte, b'.' | b'-' | b':' | b'[' | b']')) {
                *byte = b'-';
            }
            value(left - 1, launder)
        }
    }
}

fn first(byte: u8) -> State {
    let (prefix, ends) = match byte {
        0x80.. => (0x7f, true),
        0x40.. => (0x3f, false),
        0x20.. => (0x1f, true),
        _ => (0x0f, false),
    };
    match (u64::from(byte & prefix), ends) {
        (index, true) if index == u64::from(prefix) => State::IndexTail,
        (_, true) => State::Field,
        (0, false) => State::NameLength,
        (index, false) if index == u64::from(prefix) => State::NameIndexTail { value: index, shift: 0 },
        (index, false) => State::ValueLength { authority: index == AUTHORITY },
    }
}

/// One more byte of an integer; the shift of the next one, if there is one.
fn more(value: u64, shift: u32, byte: u8) -> (u64, Option<u32>) {
    let value = value.saturating_add(u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(u64::MAX));
    (value, (byte & 0x80 != 0).then_some(shift + 7))
}

fn name(length: u64, plain: bool) -> State {
    match length {
        0 => State::ValueLength { authority: false },
        left => State::Name { left, at: 0, matches: plain && left == NAME.len() as u64 },
    }
}

fn value(left: u64, launder: bool) -> State {
    if left == 0 { State::Field } else { State::Value { left, launder } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut field = match name {
            b":authority" if kind != 0 => vec![kind | 1],
            _ => [&[kind, name.len() as u8], name].concat(),
        };
        if value.len() < 127 {
            field.push(value.len() as u8);
        } else {
            let rest = value.len() - 127;
            field.extend([127, (rest & 127) as u8 | 128, (rest >> 7) as u8]);
        }
        field.extend_from_slice(value);
        field
    }

    #[test]
    fn only_the_authority_changes_however_it_is_written_and_cut() {
        let long = [b"%2F".repeat(200), b"x.sock".to_vec()].concat();
        for (value, clean) in
            [(b"%2Ftmp%2Fa_b.sock".to_vec(), b"-2Ftmp-2Fa-b.sock".to_vec()), (long, [b"-2F".repeat(200), b"x.sock".to_vec()].concat())]
        {
            let block = |authority: &[u8]| {
                let path = literal(0x40, b":path", b"/a.B/C%20d");
                [
                    &[0x3f, 0xe1, 0x1f, 0x83, 0xff, 0x01],
                    &path[..],
                    &literal(0x40, b":authority", authority),
                    &literal(0, b"user-agent", b"g%"),
                    &literal(0, b":authority", authority),
                ]
                .concat()
            };
            for cut in [1, 2, 5, 4096] {
                let mut bytes = [&[0, 0, 0, 0, 0], &block(&value)[..]].concat();
                let mut launderer = Launderer::new();
                launderer.begin(false, true);
                bytes.chunks_mut(cut).for_each(|piece| launderer.pass(piece));
                assert_eq!(bytes[5..], block(&clean), "{cut}");
            }
        }
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let mut seed = 1u64;
        for _ in 0..2000 {
            let mut bytes: Vec<u8> = (0..64)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 56) as u8
                })
                .collect();
            bytes[3..20].fill(0xff);
            let mut launderer = Launderer::new();
            launderer.begin(true, false);
            launderer.pass(&mut bytes);
        }
    }
}
