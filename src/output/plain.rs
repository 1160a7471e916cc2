//! Text from outside on its way into files that people and players read.

/// What was said or written as one line: anything that ends a line, moves the cursor or turns the direction of writing
/// becomes a blank, and blanks are not repeated. Letters, signs and emoji of any script stay.
pub(super) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if breaks(c) || c.is_whitespace() { ' ' } else { c };
        if c != ' ' || !(line.is_empty() || line.ends_with(' ')) {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The lines of a text, each as [`line()`] has it, without empty ones.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.split(ends_line).map(line).filter(|line| !line.is_empty()).collect()
}

fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters, and those that embed, override or isolate a direction of writing, which can make a line look like
/// another. Marks (U+200E, U+200F, U+061C) turn nothing around and are needed.
fn breaks(c: char) -> bool {
    c.is_control()
        || ends_line(c)
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        assert_eq!(line(" a\r\n\n b\u{2028}c\u{0}\u{1b}[31md\t\u{202e}e\u{2066} "), "a b c [31md e");
        assert_eq!(line("שלום 👩\u{200d}💻 naïve"), "שלום 👩\u{200d}💻 naïve");
        assert_eq!(line("\u{202e}\r\n\u{feff}"), "");
        assert_eq!(lines("a\r\n\r\n b \u{2029}c"), ["a", "b", "c"]);
    }
}
