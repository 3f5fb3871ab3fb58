//! WebSocket frames (RFC 6455, section 5), both ways.

#[cfg(test)]
mod tests;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Its payload.
    pub payload: &'a [u8],
    /// Bytes with its header.
    pub length: usize,
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// The first one of these bytes, when it is there whole. A server's frames
    /// are not masked.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (begin, size): (usize, usize) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => {
                let size = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
                (10, usize::try_from(size).ok()?)
            }
            size => (2, usize::from(size)),
        };
        let payload = bytes.get(begin..begin.checked_add(size)?)?;
        Some(Self { opcode: first & 0x0f, payload, length: begin + size })
    }
}

/// A server's text frame.
pub fn text(payload: &[u8]) -> Vec<u8> {
    build(1, payload, false)
}

/// A client's frame. Its mask is zero, which is a valid mask and costs nothing.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    build(opcode, payload, true)
}

fn build(opcode: u8, payload: &[u8], mask: bool) -> Vec<u8> {
    let flag: u8 = if mask { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(size @ ..=125), _) => frame.push(flag + size),
        (_, Ok(size)) => {
            frame.push(flag + 126);
            frame.extend(size.to_be_bytes());
        }
        _ => {
            frame.push(flag + 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if mask {
        frame.extend([0; 4]);
    }
    frame.extend_from_slice(payload);
    frame
}
