//! The table in the terminal, the same as JSON, and the chart.

use std::fs;
use std::path::Path;

use anyhow::Result;
use minijinja::{Environment, context};
use serde::Serialize;

/// What is to be reached.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => figure >= goal,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    fn words(self, unit: &str) -> String {
        match self {
            Self::AtLeast(goal) => format!("{} or more", amount(goal, unit)),
            Self::AtMost(goal) => format!("{} at most", amount(goal, unit)),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: String,
    /// Whose figure: Cadre's, or a peer's.
    pub program: String,
    /// None: it couldn't be measured, and `note` says why.
    pub figure: Option<f64>,
    pub unit: &'static str,
    pub goal: Option<Goal>,
    pub reached: Option<bool>,
    pub note: String,
}

impl Row {
    pub fn new(what: &str, figure: f64, unit: &'static str, goal: Option<Goal>, note: String) -> Self {
        let reached = goal.map(|goal| goal.reached(figure));
        Self { what: what.into(), program: "Cadre".into(), figure: Some(figure), unit, goal, reached, note }
    }
}

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: String,
    pub conditions: String,
    pub rows: Vec<Row>,
}

fn amount(figure: f64, unit: &str) -> String {
    let number = if figure >= 100.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    };
    match unit {
        "" => number,
        "/s" => format!("{number}/s"),
        unit => format!("{number} {unit}"),
    }
}

impl Report {
    pub fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    pub fn begin(&self) {
        println!("Cadre's figures on {}\n{}\n", self.machine, self.conditions);
        println!("| {:<50} | {:<18} | {:>10} | {:>16} | {:<8} | note", "what", "program", "measured", "to reach", "");
        println!("|{0:-<52}|{0:-<20}|{0:-<12}|{0:-<18}|{0:-<10}|------", "");
    }

    /// The chart: filing beside the peers, and what share of its goal each other figure reached.
    pub fn chart(&self, path: &Path) -> Result<()> {
        let filing: Vec<_> =
            self.rows.iter().filter(|row| row.unit == "/s" && row.what.starts_with("filing")).collect();
        let most = filing.iter().filter_map(|row| row.figure).fold(600.0_f64, f64::max);
        let bars: Vec<_> = filing
            .iter()
            .filter_map(|row| {
                let figure = row.figure?;
                let name = if row.program == "Cadre" {
                    row.what.replace("filing a backlog", "Cadre")
                } else {
                    row.program.clone()
                };
                let width = figure / most * 560.0;
                Some(context! { name, width, label => amount(figure, row.unit), own => row.program == "Cadre" })
            })
            .collect();
        let shares: Vec<_> = self
            .rows
            .iter()
            .filter_map(|row| {
                let (goal, figure) = (row.goal?, row.figure?);
                let share = match goal {
                    Goal::AtLeast(goal) => figure / goal,
                    Goal::AtMost(goal) => goal / figure.max(f64::MIN_POSITIVE),
                };
                let label = format!("{} ({})", amount(figure, row.unit), goal.words(row.unit));
                Some(context! { name => &row.what, width => share.min(2.0) * 150.0, label, reached => row.reached })
            })
            .collect();
        let mut environment = Environment::new();
        environment.add_template("chart.svg", include_str!("chart.svg.jinja"))?;
        let goal = 500.0 / most * 560.0;
        let svg =
            environment.get_template("chart.svg")?.render(context! { bars, shares, goal, machine => &self.machine })?;
        Ok(fs::write(path, svg)?)
    }
}

fn line(row: &Row) -> String {
    let figure = row.figure.map_or_else(|| "–".to_owned(), |figure| amount(figure, row.unit));
    let goal = row.goal.map_or_else(String::new, |goal| goal.words(row.unit));
    let reached = match row.reached {
        Some(true) => "reached",
        Some(false) => "missed",
        None => "",
    };
    format!("| {:<50} | {:<18} | {figure:>10} | {goal:>16} | {reached:<8} | {}", row.what, row.program, row.note)
}

/// Processor and cores.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{cores} cores of {model}")
}
