//! The matrix as people read it, on the terminal whether the test passes or not, and in `target/interop`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

/// What is known of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// As it must be.
    Good,
    /// It can't be, and why.
    Cannot(&'static str),
    /// It ought to be, and isn't.
    Failed(String),
}

/// A table of findings.
pub struct Table {
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    cells: BTreeMap<(String, String), Vec<Cell>>,
    note: String,
}

impl Table {
    /// Rows and columns that are named here stand in this order, all others behind them as they come.
    pub fn new<'a>(title: &str, rows: impl IntoIterator<Item = &'a str>, columns: &[&str]) -> Self {
        let rows = rows.into_iter().map(str::to_owned).collect();
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Self { title: title.to_owned(), rows, columns, cells: BTreeMap::new(), note: String::new() }
    }

    /// Notes one finding; a cell can hold several (writing, reading), in order.
    pub fn note(&mut self, row: &str, column: &str, cell: Cell) {
        for (name, list) in [(row, &mut self.rows), (column, &mut self.columns)] {
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
        }
        self.cells.entry((row.to_owned(), column.to_owned())).or_default().push(cell);
    }

    pub fn failures(&self) -> Vec<String> {
        let failed = self.cells.iter().flat_map(|((row, column), cells)| {
            cells.iter().filter_map(move |cell| match cell {
                Cell::Failed(why) => Some(format!("{row} × {column}: {why}")),
                _ => None,
            })
        });
        failed.collect()
    }

    /// The table as text: `+` good, a letter for each reason, `FAIL`.
    pub fn text(&self) -> String {
        let mut reasons: Vec<&'static str> = Vec::new();
        let mut mark = |cell: &Cell| match cell {
            Cell::Good => "+".to_owned(),
            Cell::Failed(_) => "FAIL".to_owned(),
            Cell::Cannot(reason) => {
                let known = reasons.iter().position(|known| known == reason);
                let at = known.unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                char::from(b'a' + u8::try_from(at).unwrap_or(25)).to_string()
            }
        };
        let shown = |cells: Option<&Vec<Cell>>, mark: &mut dyn FnMut(&Cell) -> String| match cells {
            None => "·".to_owned(),
            Some(cells) => cells.iter().map(mark).collect::<Vec<_>>().join(" "),
        };
        let first = self.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
        let mut out = format!("\n{}\n\n{:first$}", self.title, "");
        for column in &self.columns {
            out.push_str(&format!("  {column}"));
        }
        out.push('\n');
        for row in &self.rows {
            out.push_str(&format!("{row:first$}"));
            for column in &self.columns {
                let text = shown(self.cells.get(&(row.clone(), column.clone())), &mut mark);
                out.push_str(&format!("  {text:width$}", width = column.chars().count()));
            }
            out = out.trim_end().to_owned() + "\n";
        }
        out.push_str("\n  +  as it must be\n");
        for (at, reason) in reasons.iter().enumerate() {
            out.push_str(&format!("  {}  {reason}\n", char::from(b'a' + u8::try_from(at).unwrap_or(25))));
        }
        if !self.note.is_empty() {
            out.push_str(&format!("  {}\n", self.note));
        }
        out
    }

    /// A sentence below the table.
    pub fn remark(&mut self, note: &str) {
        note.clone_into(&mut self.note);
    }

    /// Shows the table past the test runner's capture, and keeps it as `target/interop/NAME.txt`.
    pub fn publish(&self, name: &str) -> Result<()> {
        let text = self.text();
        std::io::stderr().write_all(text.as_bytes())?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(format!("{name}.txt")), text)?)
    }
}
