//! Scenarios: what happens when.

use std::time::Duration;

use super::{Fault, Scenario};

// === impl Scenario ===

impl Scenario {
    /// 300 clients, 200 publications a second over 20 channels for 60 s. Each
    /// gateway is killed twice, each NATS server once; one stalls for 10 s,
    /// one route is cut for 2 s.
    pub fn long() -> Self {
        use Fault::{
            Cut, KillGateway, KillNats, Mend, StallNats, StartGateway, StartNats, WakeNats,
        };
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(2, KillGateway(0)),
            at(4, StartGateway(0)),
            at(6, KillNats(0)),
            at(8, KillGateway(1)),
            at(10, StartGateway(1)),
            at(11, StartNats(0)),
            at(15, StallNats(1)),
            at(17, KillGateway(2)),
            at(19, StartGateway(2)),
            at(25, WakeNats(1)),
            at(29, Cut(0, 2)),
            at(31, Mend),
            at(34, KillGateway(0)),
            at(35, KillNats(1)),
            at(36, StartGateway(0)),
            at(39, StartNats(1)),
            at(42, KillGateway(1)),
            at(44, StartGateway(1)),
            at(46, KillNats(2)),
            at(49, KillGateway(2)),
            at(50, StartNats(2)),
            at(51, StartGateway(2)),
        ];
        Self { clients: 300, channels: 20, per_second: 200, faults, end: Duration::from_mins(1) }
    }

    /// The same faults in a third of the time, fewer of each kind.
    pub fn short() -> Self {
        use Fault::{
            Cut, KillGateway, KillNats, Mend, StallNats, StartGateway, StartNats, WakeNats,
        };
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(1, KillGateway(0)),
            at(3, StartGateway(0)),
            at(4, KillNats(0)),
            at(7, StartNats(0)),
            at(8, KillGateway(1)),
            at(10, StallNats(1)),
            at(11, StartGateway(1)),
            at(15, WakeNats(1)),
            at(18, Cut(0, 2)),
            at(20, Mend),
            at(21, KillGateway(2)),
            at(23, StartGateway(2)),
        ];
        Self { clients: 60, channels: 10, per_second: 60, faults, end: Duration::from_secs(25) }
    }

    /// One gateway after the other is sent away and replaced.
    pub fn rollout() -> Self {
        use Fault::{DrainGateway, StartGateway};
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(1, StartGateway(3)),
            at(2, DrainGateway(0)),
            at(8, StartGateway(0)),
            at(9, DrainGateway(1)),
            at(15, StartGateway(1)),
            at(16, DrainGateway(2)),
        ];
        Self { clients: 60, channels: 10, per_second: 60, faults, end: Duration::from_secs(22) }
    }
}
