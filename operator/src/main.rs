//! x
fn main() { print!("{}", operator::crd::schema::crd_yaml().unwrap()); }
