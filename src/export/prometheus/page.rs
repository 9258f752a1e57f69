//! One page: metadata and series of every family.

use std::fmt;
use std::ops::Range;

use super::families::{Family, Kind, OfPlugin, OfSampler, PLUGIN, SAMPLER};
use super::format::Format;
use super::number::Number;
use crate::CurrentUsage;
use crate::{PluginState, PluginView, Snapshot};

/// What the series of one plugin are made of.
pub(super) struct Row<'a> {
    pub view: PluginView<'a>,
    /// Of the open run, and of no other.
    pub live: CurrentUsage,
    name: Range<usize>,
}

/// A snapshot, made ready to be written family by family.
pub(super) struct Page<'a> {
    snapshot: &'a Snapshot,
    prefix: &'a str,
    rows: Vec<Row<'a>>,
    /// The names of all plugins, escaped, each with the quote that ends it: every name is written
    /// some twenty times.
    names: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, prefix: &'a str) -> Self {
        let plugins = snapshot.plugins();
        let mut names = String::with_capacity(plugins.len() * 16);
        let mut rows = Vec::with_capacity(plugins.len());
        for view in plugins {
            let begin = names.len();
            escape(view.name(), &mut names);
            names.push('"');
            rows.push(Row { view, live: view.usage(), name: begin..names.len() });
        }
        Self { snapshot, prefix, rows, names }
    }

    /// About how long the page will be, rather more than less.
    pub(super) fn expected_len(&self) -> usize {
        const LINES: usize = PLUGIN.len() + PluginState::ALL.len();
        const WITHOUT_NAME: usize = 56;
        let lines = self.rows.len() * (WITHOUT_NAME + self.prefix.len()) + self.names.len();
        8_192 + LINES * lines
    }

    /// All of it.
    pub(super) fn write(
        &self,
        format: Format,
        eof: bool,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        (0..Self::PARTS).try_for_each(|part| self.write_part(part, format, eof, out))
    }

    /// How many parts a page has: its families, and the end.
    pub(super) const PARTS: usize = PLUGIN.len() + SAMPLER.len() + 1;

    /// One family, or the end. Who has others to serve writes a page part by part.
    pub(super) fn write_part(
        &self,
        part: usize,
        format: Format,
        eof: bool,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        if let Some(family) = PLUGIN.get(part) {
            self.metadata(format, family, out)?;
            match family.series {
                OfPlugin::Value(value) => self.values(family, value, out),
                OfPlugin::States => self.states(family, out),
                OfPlugin::Version => self.versions(family, out),
            }
        } else if let Some(family) = SAMPLER.get(part - PLUGIN.len()) {
            self.metadata(format, family, out)?;
            self.of_sampler(family, out)
        } else {
            match format {
                Format::OpenMetrics if eof => out.write_str("# EOF\n"),
                Format::OpenMetrics | Format::Prometheus => Ok(()),
            }
        }
    }

    fn of_sampler(&self, family: &Family<OfSampler>, out: &mut impl fmt::Write) -> fmt::Result {
        let name = [self.prefix, family.name, suffix(family.kind)];
        match family.series {
            OfSampler::Value(value) => match value(self.snapshot) {
                Some(number) => {
                    all(name, out)?;
                    writeln!(out, " {number}")
                }
                None => Ok(()),
            },
            OfSampler::Version => {
                all(name, out)?;
                all(["{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n"], out)
            }
        }
    }

    fn metadata<S>(
        &self,
        format: Format,
        family: &Family<S>,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        let prefix = self.prefix;
        let Family { name, kind, unit, help, .. } = *family;
        match format {
            Format::OpenMetrics => {
                let kind = match kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Info => "info",
                    Kind::StateSet => "stateset",
                };
                all(["# TYPE ", prefix, name, " ", kind, "\n"], out)?;
                if let Some(unit) = unit {
                    all(["# UNIT ", prefix, name, " ", unit, "\n"], out)?;
                }
                all(["# HELP ", prefix, name, " ", help, "\n"], out)
            }
            Format::Prometheus => {
                let suffix = suffix(kind);
                let kind = match kind {
                    Kind::Counter => "counter",
                    Kind::Gauge | Kind::Info | Kind::StateSet => "gauge",
                };
                all(["# HELP ", prefix, name, suffix, " ", help, "\n"], out)?;
                all(["# TYPE ", prefix, name, suffix, " ", kind, "\n"], out)
            }
        }
    }

    /// How each line of a plugin's family begins, up to the value of its first label.
    fn head(&self, family: &Family<OfPlugin>) -> String {
        format!("{}{}{}{{plugin=\"", self.prefix, family.name, suffix(family.kind))
    }

    fn values(
        &self,
        family: &Family<OfPlugin>,
        value: fn(&Row<'_>) -> Option<Number>,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        let head = self.head(family);
        for row in &self.rows {
            if let Some(number) = value(row) {
                all([&head, &self.names[row.name.clone()]], out)?;
                number.end_line(out)?;
            }
        }
        Ok(())
    }

    fn states(&self, family: &Family<OfPlugin>, out: &mut impl fmt::Write) -> fmt::Result {
        let head = self.head(family);
        // How the line of a state ends that it is not in, and that it is in.
        let label = [self.prefix, family.name].concat();
        let tails = PluginState::ALL
            .map(|state| [0, 1].map(|is| format!(",{label}=\"{}\"}} {is}\n", state)));
        for row in &self.rows {
            let (name, now) = (&self.names[row.name.clone()], row.view.state());
            for (state, tail) in PluginState::ALL.into_iter().zip(&tails) {
                all([&head, name, &tail[usize::from(state == now)]], out)?;
            }
        }
        Ok(())
    }

    fn versions(&self, family: &Family<OfPlugin>, out: &mut impl fmt::Write) -> fmt::Result {
        let head = self.head(family);
        let mut escaped = String::new();
        for row in &self.rows {
            if let Some(version) = row.view.version().filter(|version| !version.is_empty()) {
                escaped.clear();
                escape(version, &mut escaped);
                let name = &self.names[row.name.clone()];
                all([&head, name, ",version=\"", &escaped, "\"} 1\n"], out)?;
            }
        }
        Ok(())
    }
}

/// Writes one after the other. Formatting would make a page of ten plugins take a fifth longer.
fn all<const N: usize>(parts: [&str; N], out: &mut impl fmt::Write) -> fmt::Result {
    parts.into_iter().try_for_each(|part| out.write_str(part))
}

/// What the samples of a family have at the end of their names.
const fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::StateSet => "",
    }
}

/// Appends `value` as both formats have it between the quotes of a label.
fn escape(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\n' => r"\n",
            b'"' => r#"\""#,
            _ => r"\\",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_quotes_and_line_ends_are_escaped_and_nothing_else_is() {
        for (value, expected) in [
            ("dice", "dice"),
            (r#"C:\"dice""#, r#"C:\\\"dice\""#),
            ("two\nlines", r"two\nlines"),
            (r"\n", r"\\n"),
            ("{a=\"b\"} 1 # ü\u{2028}", "{a=\\\"b\\\"} 1 # ü\u{2028}"),
        ] {
            let mut escaped = String::new();
            escape(value, &mut escaped);
            assert_eq!(escaped, expected);
        }
    }

    #[test]
    fn units_end_the_names_that_have_them_and_no_help_needs_escaping() {
        let of_plugins = PLUGIN.iter().map(|f| (f.name, f.kind, f.unit, f.help));
        let of_sampler = SAMPLER.iter().map(|f| (f.name, f.kind, f.unit, f.help));
        for (name, kind, unit, help) in of_plugins.chain(of_sampler) {
            assert!(unit.is_none_or(|unit| name.ends_with(&format!("_{unit}"))), "{name}");
            assert!(unit.is_none() || matches!(kind, Kind::Counter | Kind::Gauge), "{name}");
            assert!(!help.contains(['\\', '"', '\n']), "{help}");
            assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}");
        }
    }
}
