//! Base64 of binary metadata: written without padding, read with or without.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..=group.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

/// None: that is no Base64.
pub fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (mut bits, mut have, mut bytes) = (0u32, 0, Vec::with_capacity(end * 3 / 4));
    for byte in &text[..end] {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have) as u8);
        }
    }
    (have < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for size in 0..50u8 {
            let bytes: Vec<u8> = (0..size).map(|n| n.wrapping_mul(89).wrapping_add(size)).collect();
            let text = encoded(&bytes);
            assert_eq!(decoded(text.as_bytes()), Some(bytes.clone()));
            let padded = format!("{text}{}", &"=="[..(3 - bytes.len() % 3) % 3]);
            assert_eq!(decoded(padded.as_bytes()), Some(bytes));
        }
        assert_eq!(encoded(b"foobar!"), "Zm9vYmFyIQ");
        assert_eq!(decoded(b"Zm9v*"), None);
        assert_eq!(decoded(b"Z"), None);
    }
}
