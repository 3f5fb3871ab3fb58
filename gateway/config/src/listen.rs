//! Addresses to listen on: `host:port`.

use std::net::{IpAddr, Ipv6Addr};

/// An address to listen on, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// `:8080` becomes `0.0.0.0:8080`, so that it can be bound as it stands.
pub(crate) fn complete(address: &mut String) {
    if address.starts_with(':') {
        address.insert_str(0, "0.0.0.0");
    }
}

/// Where others reach a listener, as host and port. Kubernetes writes a pod's
/// IPv6 address without brackets, and a port may stand behind it all the
/// same. The error says what to write.
pub(crate) fn advertised(text: &str, listen: &str) -> Result<String, String> {
    let port = listen.rsplit_once(':').map_or(listen, |(_, port)| port);
    let colons = text.bytes().filter(|b| *b == b':').count();
    if text.starts_with('[') {
        return Ok(if text.ends_with(']') { format!("{text}:{port}") } else { text.to_owned() });
    }
    if colons < 2 {
        return Ok(if colons == 0 { format!("{text}:{port}") } else { text.to_owned() });
    }
    let address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let split =
        text.rsplit_once(':').filter(|(host, last)| address(host) && last.parse::<u16>().is_ok());
    match (split, address(text)) {
        (Some((host, last)), whole) if last == port || !whole => Ok(format!("[{host}]:{last}")),
        (Some((host, last)), _) => Err(format!(
            "may be `[{host}]:{last}` or `[{text}]:{port}`; write the one that is meant, with brackets"
        )),
        (None, true) => Ok(format!("[{text}]:{port}")),
        (None, false) => {
            Err("takes an address and a port, as in `10.0.0.1:8082` or `[fd00::1]:8082`".to_owned())
        }
    }
}

// === impl Listen ===

impl Listen {
    /// The error says what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = || "takes an address and a port, as in `127.0.0.1:8080`, `0.0.0.0:8080`, `[::]:8080` or `:8080`";
        let mut text = text.to_owned();
        complete(&mut text);
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| format!("{}; the port is missing", form()))?;
        let port = port
            .parse()
            .map_err(|_| format!("{}; the port is a number from 0 to 65535", form()))?;
        let host = if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Host::Address(inner.parse::<Ipv6Addr>().map_err(|_| form())?.into())
        } else if let Ok(address) = host.parse() {
            if matches!(address, IpAddr::V6(_)) {
                return Err(format!("takes an IPv6 address in brackets, as in `[{host}]:{port}`"));
            }
            Host::Address(address)
        } else if !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            && host.bytes().any(|b| b.is_ascii_alphabetic())
        {
            Host::Name(host.to_ascii_lowercase())
        } else {
            return Err(form().to_owned());
        };
        Ok(Self { host, port })
    }

    /// Whether only this machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// Whether it stands for every address of this machine.
    pub(crate) fn is_everywhere(&self) -> bool {
        matches!(&self.host, Host::Address(address) if address.is_unspecified())
    }

    /// Whether both can't be listened on. Port 0 is a free one each time.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        self.port == other.port
            && self.port != 0
            && (self.host == other.host || self.is_everywhere() || other.is_everywhere())
    }
}
