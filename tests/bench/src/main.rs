//! `bench`: measures the gateway beside its peers; `tests/bench/run` builds all
//! that it needs.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bench::contender::{Contender, FLOOR};
use bench::guard::Baseline;
use bench::report::{Machine, Named, Report, Row, load_average, today};
use bench::scenario::{Effort, Scenario};

const USAGE: &str = "bench [--quick] [--rounds N] [--only SCENARIO,...] [--servers NAME,...]
      [--peers LIST] [--gateway PROGRAM] [--json FILE] [--svg FILE]
      [--baseline FILE] [--write-baseline FILE] [--from JSON]";

/// What was asked for.
struct Args {
    quick: bool,
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
    let args = Args::read(std::env::args().skip(1))?;
    let report = match &args.from {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => run(&args)?,
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
    if let Some(path) = &args.baseline {
        println!("{}", Baseline::read(path)?.check(&Baseline::of(&report))?);
    }
    if report.rows.iter().any(|row| row.failed.is_some()) {
        bail!("not all was measured");
    }
    Ok(())
}

/// Each scenario against each server in turn, as many rounds as asked.
fn run(args: &Args) -> anyhow::Result<Report> {
    let mut contenders = vec![Contender::floor()?, Contender::gateway(args.gateway.clone())?];
    if let Some(list) = &args.peers {
        contenders.extend(Contender::peers(list)?);
    }
    if let Some(names) = &args.servers {
        contenders.retain(|contender| names.contains(&contender.name) || contender.name == FLOOR);
    }
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
