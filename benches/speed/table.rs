//! Rows, and the table that they make.

use std::fmt;

/// One figure beside its rival's.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) rival: String,
    /// The figure by the rival's, both in the same unit.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: String,
    /// `None` if there is no target for it.
    pub(crate) met: Option<bool>,
}

/// All rows; shown as Markdown.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Row {
    pub(crate) fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), ..Self::default() }
    }

    pub(crate) fn rival(mut self, rival: impl Into<String>, ratio: f64) -> Self {
        self.rival = rival.into();
        self.ratio = ratio.is_finite().then_some(ratio);
        self
    }

    pub(crate) fn target(mut self, target: impl Into<String>, met: bool) -> Self {
        self.target = target.into();
        self.met = Some(met);
        self
    }
}

impl Table {
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            // A run that is broken off has shown what it found.
            eprintln!("bench: {}: {} (rival: {})", row.what, row.figure, row.rival);
            self.0.push(row);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | figure | rival | ratio | target | met |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Row { what, figure, rival, ratio, target, met } in &self.0 {
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let met = met.map_or("", |met| if met { "yes" } else { "no" });
            writeln!(f, "| {what} | {figure} | {rival} | {ratio} | {target} | {met} |")?;
        }
        Ok(())
    }
}
