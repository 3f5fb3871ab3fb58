//! The report as a chart: CPU for each delivery, as ratios to the floor.

use std::fmt::Write as _;

use super::Report;
use crate::contender::OURS;
use crate::scenario::Scenario;

const WORKS: [(Scenario, &str); 4] = [
    (Scenario::Broadcast, "broadcast: 1000 clients, 8 publishes not answered yet"),
    (Scenario::Windowed, "windowed: 1000 clients, 8 publications not delivered to all yet"),
    (Scenario::Rooms, "rooms: 100 channels with 10 clients each, one publisher"),
    (Scenario::Paced, "paced: 1000 clients, 20 publications a second"),
];

/// All in pixels.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 150.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const HEADING: f64 = 34.0;
const FIGURES: f64 = 130.0;

// === impl Report ===

impl Report {
    /// The chart as SVG. It brings its own background, so that it can be read
    /// on a dark page, too.
    #[allow(clippy::cast_precision_loss)] // a handful of servers
    pub fn svg(&self) -> String {
        let ratio = |scenario, name: &str| self.ratio(scenario, name, "cpu_us");
        let most = WORKS
            .iter()
            .flat_map(|&(scenario, _)| {
                self.servers.iter().filter_map(move |server| ratio(scenario, &server.name))
            })
            .fold(1.0, f64::max);
        let scale = (WIDTH - NAMES - FIGURES) / most;
        let each = HEADING + self.servers.len() as f64 * (BAR + GAP);
        let height = 40.0 + WORKS.len() as f64 * each + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
             <title>CPU of the server for each delivery, as ratios to the floor</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"12\" y=\"26\" font-size=\"15\" font-weight=\"bold\">\
             CPU of the server for each delivery (floor = 1; less is better)</text>\n"
        );
        let mut y = 40.0;
        for (scenario, title) in WORKS {
            y += HEADING;
            let _ = writeln!(svg, "<text x=\"12\" y=\"{}\" fill=\"#555\">{title}</text>", y - 10.0);
            let floor = NAMES + scale;
            let bottom = y + self.servers.len() as f64 * (BAR + GAP);
            let _ = writeln!(
                svg,
                "<line x1=\"{floor:.1}\" y1=\"{y}\" x2=\"{floor:.1}\" y2=\"{bottom}\" \
                 stroke=\"#999\" stroke-dasharray=\"3 3\"/>"
            );
            for server in &self.servers {
                let middle = y + BAR - 5.0;
                let name = &server.name;
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>",
                    NAMES - 8.0
                );
                if let Some(ratio) = ratio(scenario, name) {
                    let colour = if name.starts_with(OURS) { "#0b7a5c" } else { "#9aa7b1" };
                    let width = ratio * scale;
                    let cpu = self.median(scenario, "", name, "cpu_us").unwrap_or_default();
                    let _ = writeln!(
                        svg,
                        "<rect x=\"{NAMES}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" \
                         fill=\"{colour}\"/>\n\
                         <text x=\"{:.1}\" y=\"{middle}\">{ratio:.2} ({cpu:.1} µs)</text>",
                        NAMES + width + 6.0
                    );
                }
                y += BAR + GAP;
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}
