//! Tables whose columns are as wide as their content, and the colours that states have.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

/// A text and how it looks.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// A text without colour. What could command a terminal is shown, not sent.
    pub(super) fn new(text: impl AsRef<str>) -> Cell {
        Cell { text: plain(text.as_ref()), ..Cell::default() }
    }

    /// A number: it stands right in its column.
    pub(super) fn number(number: impl std::fmt::Display) -> Cell {
        Cell { right: true, ..Cell::new(number.to_string()) }
    }

    /// A list, separated by commas; `-` where it is empty.
    pub(super) fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Cell {
        let text = items.into_iter().map(|i| i.as_ref().to_owned()).collect::<Vec<_>>().join(",");
        if text.is_empty() { Cell::new("-").styled(FAINT) } else { Cell::new(text) }
    }

    /// The same text in another style.
    pub(super) fn styled(self, style: Style) -> Cell {
        Cell { style, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// All is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();
/// Out of answers.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// Of little weight.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEADING: Style = Style::new().bold();

/// Rows under headings. A column in which every cell is empty is left out.
#[derive(Debug)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(headings: impl IntoIterator<Item = &'static str>) -> Table {
        Table { headings: headings.into_iter().collect(), rows: Vec::new(), indent: 0 }
    }

    /// A table of so many columns without headings, each line indented by `indent` blanks.
    pub(super) fn bare(columns: usize, indent: usize) -> Table {
        Table { headings: vec![""; columns], rows: Vec::new(), indent }
    }

    /// The same table, each line indented by `indent` blanks.
    pub(super) fn indented(self, indent: usize) -> Table {
        Table { indent, ..self }
    }

    /// Adds a row: one cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as lines, each with a line end; two blanks stand between columns and none at the end of a line.
    pub(super) fn render(&self) -> String {
        let shown: Vec<usize> = (0..self.headings.len()).filter(|c| self.rows.iter().any(|r| self.cell(r, *c).width() > 0)).collect();
        let headings: Vec<Cell> = self.headings.iter().map(|h| Cell::new(h).styled(HEADING)).collect();
        let width = |column: usize| self.rows.iter().chain([&headings]).map(|r| self.cell(r, column).width()).max().unwrap_or(0);
        let widths: Vec<usize> = shown.iter().map(|c| width(*c)).collect();
        let mut text = String::new();
        for (number, row) in [&headings].into_iter().chain(&self.rows).enumerate() {
            // Blanks are held back until a cell follows, so that no line ends in them.
            if row.iter().all(|cell| cell.width() == 0) {
                continue;
            }
            let mut blanks = self.indent;
            for (column, width) in shown.iter().zip(&widths) {
                let cell = self.cell(row, *column);
                let spare = width - cell.width();
                let right = cell.right || (number == 0 && self.rows.iter().all(|r| self.cell(r, *column).right));
                let (before, after) = if right { (spare, 0) } else { (0, spare) };
                blanks += before;
                if cell.width() > 0 {
                    push(&mut text, &" ".repeat(std::mem::take(&mut blanks)), Style::new());
                    push(&mut text, &cell.text, cell.style);
                }
                blanks += after + 2;
            }
            text.push('\n');
        }
        text
    }

    fn cell<'a>(&'a self, row: &'a [Cell], column: usize) -> &'a Cell {
        const NONE: &Cell = &Cell { text: String::new(), style: Style::new(), right: false };
        row.get(column).unwrap_or(NONE)
    }
}

/// Appends a text in a style, which ends before the line does.
pub(super) fn push(text: &mut String, added: &str, style: Style) {
    let (line, end) = added.strip_suffix('\n').map_or((added, ""), |line| (line, "\n"));
    // Writing to a String cannot fail.
    let _ = write!(text, "{style}{line}{style:#}{end}");
}

/// A text from outside, with every control character written out: a reason or a note must not command the reader's terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match c.is_control() {
            true => plain.extend(c.escape_unicode()),
            false => plain.push(c),
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_content_and_empty_ones_are_left_out() {
        let mut table = Table::new(["ID", "WEIGHT", "DRAINED BY", "WHY"]);
        table.row([Cell::new("a"), Cell::number(100), Cell::default(), Cell::new("x\u{1b}[2J")]);
        table.row([Cell::new("longer-id").styled(BAD), Cell::number(5), Cell::default(), Cell::default()]);
        let text = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(text, "ID         WEIGHT  WHY\na             100  x\\u{1b}[2J\nlonger-id       5\n");
        assert!(table.render().contains("\u{1b}[31mlonger-id\u{1b}[0m"));
    }
}
