//! The script as it is sent: without comments and indentation, which are a fifth of it.

/// After these, a line break has no meaning in JavaScript.
const JOINS: [char; 4] = [';', '{', ',', '('];

/// Removes the comments, the spaces at the start of lines, and line breaks without a meaning. A comment
/// has lines of its own, or follows a semicolon; no string of the script spans lines.
pub(super) fn without_comments(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    let mut is_comment = false;
    for line in script.lines().map(str::trim) {
        is_comment |= line.starts_with("/*");
        if !is_comment && !line.is_empty() && !line.starts_with("//") {
            match line.split_once("; // ") {
                Some((code, _)) => out.extend([code, ";"]),
                None => out.push_str(line),
            }
            if !out.ends_with(JOINS) {
                out.push('\n');
            }
        }
        is_comment &= !line.ends_with("*/");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_are_removed() {
        let script = "// one\n/** two */\nconst a = [\n  1,\n]; // ends,\n\n  /** three\n      four */\n  \
                      if (a) {\n  b('/* a */')\n    + '//';\n}\nc();\n";
        let expected = "const a = [\n1,];if (a) {b('/* a */')\n+ '//';}\nc();";
        assert_eq!(without_comments(script), expected);
    }
}
