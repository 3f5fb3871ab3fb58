//! stdout and stderr. Whoever reads them may go away at any time (`| head`);
//! `println!` would panic then.

use std::io::{self, Write as _};

/// One line to stdout, at once. The error says that nobody reads any more.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// One line to stderr. If that fails there is nobody to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// JSON on one line that a terminal takes for text: line breaks between its
/// tokens become spaces, and control characters (which a terminal might obey)
/// are escaped.
pub(super) fn one_line(json: &str) -> String {
    use std::fmt::Write as _;
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => {
                // Writing into a String does not fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
}
