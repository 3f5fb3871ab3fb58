//! `bench`: measures the gateway beside its peers; `tests/bench/run` builds all
//! that it needs.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use bench::contender::{Contender, FLOOR};
use bench::cores::Cores;
use bench::guard::Baseline;
use bench::report::{Machine, Named, Report, Row, load_average, today};
use bench::scenario::{Effort, Scenario};
use bench::server::{SERVER, become_server};

const USAGE: &str =
    "bench [--quick] [--apart] [--rounds N] [--only SCENARIO,...] [--servers NAME,...]
      [--peers LIST] [--gateway PROGRAM] [--json FILE] [--svg FILE]
      [--baseline FILE] [--write-baseline FILE] [--from JSON]";

/// What is worse than the baseline so often is worse.
const TRIES: usize = 3;

/// What was asked for.
#[derive(Clone)]
struct Args {
    quick: bool,
    /// The server on a core of its own.
    apart: bool,
    rounds: usize,
    scenarios: Vec<Scenario>,
    servers: Option<Vec<String>>,
    peers: Option<PathBuf>,
    gateway: Option<PathBuf>,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    baseline: Option<PathBuf>,
    write_baseline: Option<PathBuf>,
    from: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == SERVER).is_some() {
        return become_server(words);
    }
    let args = Args::read(words)?;
    let cores = if args.apart { Cores::here()? } else { Cores::default() };
    ensure!(!args.apart || cores.server.is_some(), "--apart needs two cores");
    let report = match &args.from {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => run(&args, cores)?,
    };
    println!("{report}");
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, report.svg())?;
    }
    if let Some(path) = &args.write_baseline {
        Baseline::of(&report).write(path)?;
    }
    if report.rows.iter().any(|row| row.failed.is_some()) {
        bail!("not all was measured");
    }
    match &args.baseline {
        Some(path) => guard(&args, cores, &Baseline::read(path)?, report),
        None => Ok(()),
    }
}

/// Compares with the baseline. What is worse is measured again: on a machine
/// that does something else for a while, one run says little.
fn guard(args: &Args, cores: Cores, before: &Baseline, first: Report) -> anyhow::Result<()> {
    let (mut report, mut asked) = (first, args.clone());
    for more in (0..TRIES).rev() {
        let (text, worse) = before.compare(&Baseline::of(&report), &asked.scenarios)?;
        println!("{text}");
        if worse.is_empty() {
            break;
        }
        let names: Vec<_> = worse.iter().map(|scenario| scenario.name()).collect();
        ensure!(
            more > 0,
            "{}: over 15 % worse than the baseline, {TRIES} times; profile it, or, where the cost \
             is meant, write a new baseline (docs/performance.md)",
            names.join(", ")
        );
        println!("What is worse is measured again.\n");
        asked.scenarios = worse;
        report = run(&asked, cores)?;
        println!("{report}");
    }
    Ok(())
}

/// Each scenario against each server in turn, as many rounds as asked.
fn run(args: &Args, cores: Cores) -> anyhow::Result<Report> {
    let gateway = Contender::gateway(args.gateway.clone())?;
    let mut contenders = vec![Contender::floor()?, gateway.clone()];
    if !args.quick {
        contenders.push(gateway.with_one_shard());
    }
    if let Some(list) = &args.peers {
        contenders.extend(Contender::peers(list)?);
    }
    if let Some(names) = &args.servers {
        contenders.retain(|contender| names.contains(&contender.name) || contender.name == FLOOR);
    }
    // With a core each, neither is ever in the other's way, or moves: what the
    // scheduler makes of it is not measured.
    contenders = contenders.into_iter().map(|contender| contender.on(cores)).collect();
    let named = |contender: &Contender| Named {
        name: contender.name.clone(),
        version: contender.version.clone(),
    };
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut report = Report {
        date: today(),
        machine: Machine::here(),
        load: [load_average(); 2],
        servers: contenders.iter().map(named).collect(),
        rows: Vec::new(),
    };
    for &scenario in &args.scenarios {
        for round in 0..args.rounds {
            for contender in &contenders {
                if !contender.is_ours() && !scenario.is_for_all() {
                    continue;
                }
                let row = |variant: String| Row {
                    scenario: scenario.name().to_owned(),
                    variant,
                    server: contender.name.clone(),
                    round,
                    figures: bench::scenario::Figures::new(),
                    failed: None,
                };
                match scenario.run(contender, &effort) {
                    Ok(variants) => {
                        for (variant, figures) in variants {
                            let row = Row { figures, ..row(variant) };
                            eprintln!("{}", serde_json::to_string(&row)?);
                            report.rows.push(row);
                        }
                    }
                    Err(error) => {
                        let row = Row { failed: Some(format!("{error:#}")), ..row(String::new()) };
                        eprintln!("{}", serde_json::to_string(&row)?);
                        report.rows.push(row);
                    }
                }
            }
        }
    }
    report.load[1] = load_average();
    Ok(report)
}

// === impl Args ===

impl Args {
    fn read(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut args = Self {
            quick: false,
            apart: false,
            rounds: 3,
            scenarios: Scenario::ALL.to_vec(),
            servers: None,
            peers: None,
            gateway: None,
            json: None,
            svg: None,
            baseline: None,
            write_baseline: None,
            from: None,
        };
        let mut words = words.peekable();
        let mut only = None;
        while let Some(word) = words.next() {
            if word == "--quick" {
                args.quick = true;
                continue;
            }
            if word == "--apart" {
                args.apart = true;
                continue;
            }
            let mut value =
                || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--rounds" => args.rounds = value()?.parse().context("--rounds")?,
                "--only" => only = Some(value()?),
                "--servers" => {
                    args.servers = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--peers" => args.peers = Some(value()?.into()),
                "--gateway" => args.gateway = Some(value()?.into()),
                "--json" => args.json = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                "--baseline" => args.baseline = Some(value()?.into()),
                "--write-baseline" => args.write_baseline = Some(value()?.into()),
                "--from" => args.from = Some(value()?.into()),
                _ => bail!("{word} is unknown\n{USAGE}"),
            }
        }
        if let Some(names) = only {
            let named = |name| Scenario::named(name).with_context(|| format!("no scenario {name}"));
            args.scenarios = names.split(',').map(named).collect::<Result<_, _>>()?;
        } else if args.quick {
            args.scenarios = Scenario::GUARDED.to_vec();
        }
        Ok(args)
    }
}
