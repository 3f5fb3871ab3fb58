//! `kubectl push`: what `kubectl describe` can't show.

fn main() {}
