//! As much of HTTP/1.1 as a bench needs: requests that this crate sends and
//! answers that its servers give.

use memchr::memmem;

#[cfg(test)]
mod tests;

/// One whole request or answer at the begin of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Request or status line and headers, without the empty line.
    pub head: &'a str,
    /// What its `Content-Length` covers.
    pub body: &'a [u8],
    /// Bytes of all of it.
    pub length: usize,
}

// === impl Message ===

impl<'a> Message<'a> {
    /// The first one of these bytes, when it is there whole. A body without a
    /// length is taken as empty, a chunked one ends with its empty chunk.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let end = memmem::find(bytes, b"\r\n\r\n")?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let begin = end + 4;
        if header(head, "transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            let rest = bytes.get(begin..)?;
            let last = if rest.starts_with(b"0\r\n\r\n") {
                0
            } else {
                memmem::find(rest, b"\r\n0\r\n\r\n")? + 2
            };
            let length = begin + last + 5;
            return Some(Self { head, body: bytes.get(begin..begin + last)?, length });
        }
        let size = header(head, "content-length").map_or(Some(0), |value| value.parse().ok())?;
        let body = bytes.get(begin..begin + size)?;
        Some(Self { head, body, length: begin + size })
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    /// Method and path of a request.
    pub fn target(&self) -> Option<(&'a str, &'a str)> {
        let mut words = self.head.split(' ');
        Some((words.next()?, words.next()?))
    }
}

/// The status of an answer of which only the head may be there.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.split(|&byte| byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}

/// The value of a header, by its name in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
