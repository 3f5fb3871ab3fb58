//! Offsets, also those of a channel that is behind.

use gateway::channel::Channel;
use gateway::offset::{Offset, Position};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "offset", planted: "a channel's own sequence loses its highest bit", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let position =
        Position { epoch: input.number(), sequence: input.number(), time: input.number() };
    let sequence = input.number();
    let channel = Channel::new(input.text()).ok().map(|channel| (channel, sequence));
    let offset = Offset { position, channel };
    assert_eq!(read(&offset.to_string(), planted), Some(offset));
    assert_eq!(position.to_string().parse(), Ok(position));

    // Any text: it is refused, or means what it says.
    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Some(offset) = read(text, planted) {
        let again = offset.to_string();
        // An escape that isn't needed is read, and written shorter.
        assert!(again.len() <= text.len() * 3);
        assert!(offset.channel.is_some() || again == text);
        assert_eq!(read(&again, planted), Some(offset));
    }
}

fn read(text: &str, planted: bool) -> Option<Offset> {
    let mut offset: Offset = text.parse().ok()?;
    if planted && let Some((_, sequence)) = &mut offset.channel {
        *sequence &= u64::MAX >> 1;
    }
    Some(offset)
}
