//! Reads as a store takes them, from the bytes of a `MultiGetRequest`: what the server would do with generated classes, at once.
//!
//! Only the plain form is known here: fields 1 to 3 of `GetRequest`, each at most once, of datasets that are known. For all
//! else the answer is None, and the server reads the message with the generated classes, which also word the errors.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

const REQUEST: u8 = 0x0a;
const KEY: u8 = 0x0a;
const DATASET: u8 = 0x12;
const AFTER: u8 = 0x18;

/// `(dataset, key, after_ts_millis)` for each request of `message`, in order; None: read it in another way.
#[pyfunction]
pub fn known_gets<'py>(
    py: Python<'py>,
    message: &[u8],
    datasets: &Bound<'py, PyDict>,
    key_bytes_max: usize,
) -> PyResult<Option<Bound<'py, PyList>>> {
    let mut rest = message;
    let mut found = Vec::with_capacity(message.len() / 32);
    let mut last: Option<(&[u8], Bound<'py, PyAny>)> = None;
    while !rest.is_empty() {
        let Some(get) = tagged(&mut rest, REQUEST).and_then(Get::read) else { return Ok(None) };
        if get.key.is_empty() || get.key.len() > key_bytes_max {
            return Ok(None);
        }
        let dataset = match &last {
            Some((name, dataset)) if *name == get.dataset => dataset.clone(),
            _ => {
                let Ok(name) = std::str::from_utf8(get.dataset) else { return Ok(None) };
                let Some(dataset) = datasets.get_item(PyString::new(py, name))? else { return Ok(None) };
                last = Some((get.dataset, dataset.clone()));
                dataset
            }
        };
        found.push(PyTuple::new(py, [dataset, PyBytes::new(py, get.key).into_any(), get.after.into_pyobject(py)?.into_any()])?);
    }
    PyList::new(py, found).map(Some)
}

struct Get<'a> {
    key: &'a [u8],
    dataset: &'a [u8],
    after: i64,
}

impl<'a> Get<'a> {
    fn read(mut bytes: &'a [u8]) -> Option<Get<'a>> {
        let (mut key, mut dataset, mut after) = (None, None, None);
        while let Some(tag) = bytes.first() {
            match *tag {
                KEY if key.is_none() => key = Some(tagged(&mut bytes, KEY)?),
                DATASET if dataset.is_none() => dataset = Some(tagged(&mut bytes, DATASET)?),
                AFTER if after.is_none() => {
                    bytes = &bytes[1..];
                    after = Some(i64::try_from(varint(&mut bytes)?).ok()?);
                }
                _ => return None,
            }
        }
        Some(Get { key: key?, dataset: dataset?, after: after.unwrap_or(0) })
    }
}

/// The content of the field that begins `rest`, which goes on behind it.
fn tagged<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (first, mut behind) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let size = usize::try_from(varint(&mut behind)?).ok()?;
    let (content, behind) = behind.split_at_checked(size)?;
    *rest = behind;
    Some(content)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in rest.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_form_is_read_in_any_order() {
        for bytes in [&b"\x0a\x01k\x12\x01d\x18\x96\x01"[..], b"\x18\x96\x01\x12\x01d\x0a\x01k"] {
            let get = Get::read(bytes).expect("a plain form");
            assert_eq!((get.key, get.dataset, get.after), (&b"k"[..], &b"d"[..], 150));
        }
        assert_eq!(Get::read(b"\x0a\x01k\x12\x01d").map(|get| get.after), Some(0));
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        let wrong: [&[u8]; 8] = [
            b"\x0a\x02k\x12\x01d",                                             // longer than it is
            b"\x0a\x01k",                                                      // no dataset
            b"\x0a\x01k\x12\x01d\x12\x01e",                                    // twice
            b"\x0a\x01k\x12\x01d\x20\x01",                                     // an unknown field
            b"\x0a\x01k\x12\x01d\x18",                                         // no number
            b"\x0a\x01k\x12\x01d\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // negative
            b"\x0a\x01k\x12\x01d\x1a\x01x",                                    // another type
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fk",                      // absurd
        ];
        for bytes in wrong {
            assert!(Get::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
