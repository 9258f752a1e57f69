//! A strict parser of Prometheus expositions: it accepts only what the grammar allows.

use std::collections::{BTreeMap, HashMap, HashSet};

const STATES: [&str; 7] =
    ["STOPPED", "STARTING", "RUNNING", "UNHEALTHY", "STOPPING", "CRASHED", "FAILED"];

/// The labels of one sample.
pub type Labels = BTreeMap<String, String>;

/// A parsed page.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Name, labels and value of each sample, in the order of the page.
    pub samples: Vec<(String, Labels, f64)>,
    /// Comment lines, unparsed.
    pub comments: Vec<String>,
}

impl Parsed {
    /// Parses a page.
    ///
    /// # Panics
    ///
    /// If a line is not a comment and not a valid sample.
    #[track_caller]
    pub fn of(page: &str) -> Self {
        assert!(page.ends_with('\n'));
        let mut parsed = Self::default();
        for line in page.split_terminator('\n') {
            if line.starts_with('#') {
                parsed.comments.push(line.to_owned());
            } else {
                parsed
                    .samples
                    .push(sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}")));
            }
        }
        parsed
    }

    /// Returns the value of the sample with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels =
            labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let found = self.samples.iter().find(|sample| sample.0 == name && sample.1 == labels);
        found.map(|sample| sample.2)
    }

    /// Returns the value of a series whose only label is the plugin.
    pub fn of_plugin(&self, name: &str, plugin: &str) -> Option<f64> {
        self.value(name, &[("plugin", plugin)])
    }

    /// Asserts rules that common parsers do not check: no duplicate series, exactly one active state
    /// of each plugin in the state set `stateset`, and adjacent series of a family.
    ///
    /// # Panics
    ///
    /// If the page breaks one of these rules.
    #[track_caller]
    pub fn assert_sound(&self, stateset: &str) {
        let mut seen = HashSet::new();
        for (name, labels, _) in &self.samples {
            assert!(seen.insert((name, labels)), "{name} {labels:?} appears twice");
        }
        let mut states: HashMap<&str, Vec<(&str, f64)>> = HashMap::new();
        for (name, labels, value) in &self.samples {
            if name == stateset {
                let of_plugin = states.entry(&labels["plugin"]).or_default();
                of_plugin.push((&labels[stateset], *value));
            }
        }
        for (plugin, states) in states {
            assert_eq!(states.iter().map(|state| state.0).collect::<Vec<_>>(), STATES, "{plugin}");
            assert!(states.iter().all(|state| [0.0, 1.0].contains(&state.1)), "{plugin}");
            assert_eq!(states.iter().filter(|state| state.1 == 1.0).count(), 1, "{plugin}");
        }
        // The series of a family are adjacent.
        let mut names: Vec<_> = self.samples.iter().map(|sample| &sample.0).collect();
        names.dedup();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Parses `name{label="value",...} number`. Returns `None` for anything else.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let new = labels.insert(key.to_owned(), value).is_none();
            if !new || !is_name(key) {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let number = rest.strip_prefix(' ')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    (is_name(name) && plain).then_some((name.to_owned(), labels, number.parse().ok()?))
}

/// Parses the value of a label up to its closing quote. Returns the value and the rest of the text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}
