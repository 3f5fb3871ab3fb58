//! Takes an input apart: numbers, then pieces.

/// Ends a piece. It occurs in no UTF-8 text.
pub const END: u8 = 0xff;

/// What is left of an input. It never runs out: behind the end are zeros and
/// empty pieces.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

// === impl Input ===

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// Eight bytes, the lowest first.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to the next [`END`], which is dropped.
    pub fn piece(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| byte == END);
        let (piece, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        piece
    }

    /// The same as text; empty where it isn't UTF-8.
    pub fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.piece()).unwrap_or_default()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Changes single characters of an ASCII text, as the rest of the input says.
pub fn edited(text: &str, mut edits: Input) -> String {
    let mut bytes = text.as_bytes().to_vec();
    while !edits.is_empty() && !bytes.is_empty() {
        let at = usize::from(edits.byte()) % bytes.len();
        bytes[at] ^= edits.byte() & 0x7f;
    }
    String::from_utf8(bytes).unwrap_or_default()
}
