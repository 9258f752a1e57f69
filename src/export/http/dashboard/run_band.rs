//! The runs of a plugin as a band under the charts: each with its version and its end.

use serde::{Serialize, Serializer};

use super::chart::{Scale, unix_seconds};
use super::finding_marks::{ChartKind, FindingMarks};
use super::range_values::RangeValues;
use crate::findings::Finding;
use crate::format::number::precise_duration;
use crate::{PluginView, Run, RunEnd};

/// The runs that overlap the shown range, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct RunBand {
    pub runs: Vec<BandRun>,
    /// A description for screen readers.
    pub summary: String,
    pub marks: FindingMarks,
}

/// A run as a part of the band.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BandRun {
    /// The start and the length, in percent of the band.
    pub x: f64,
    pub width: f64,
    /// `running`, `ended` or `failed`.
    pub class: &'static str,
    /// Empty if there is no space for it.
    pub label: String,
    /// The tooltip.
    pub title: String,
}

/// In percent of the band: no less can be seen or pointed at.
const MIN_WIDTH: f64 = 0.3;
/// Likewise, for a version of a few characters.
const MIN_LABEL_WIDTH: f64 = 5.0;

impl RunBand {
    pub(super) fn new(view: PluginView<'_>, values: &RangeValues, findings: &[Finding]) -> Self {
        let (from, to) = values.time_range;
        let now = view.snapshot().sampled_at();
        let in_memory = view.runs().take(if values.runs.is_some() { 0 } else { usize::MAX });
        let runs: Vec<_> = values
            .runs
            .iter()
            .flatten()
            .chain(in_memory)
            .filter_map(|run| {
                let start = unix_seconds(run.started_at.unwrap_or(run.reported_at));
                let end = unix_seconds(run.ended_at.unwrap_or(now)).max(start);
                (start <= to && end >= from).then(|| BandRun::new(run, start, end, (from, to)))
            })
            .collect();
        let failed = runs.iter().filter(|run| run.class == "failed").count();
        let summary = match (runs.len(), failed) {
            (0, _) => "No run in this range.".to_owned(),
            (1, 0) => "One run in this range.".to_owned(),
            (1, _) => "One run in this range, which failed.".to_owned(),
            (count, failed) => format!("{count} runs in this range, of which {failed} failed."),
        };
        let scale = Scale { from, to, low: 0.0, high: 1.0, width: 960.0, height: 6.0 };
        Self { runs, summary, marks: FindingMarks::new(findings, ChartKind::Runs, scale, now) }
    }
}

impl BandRun {
    fn new(run: &Run, start: f64, end: f64, (from, to): (f64, f64)) -> Self {
        let percent = |at: f64| ((at - from) / (to - from) * 100.0).clamp(0.0, 100.0);
        let width = (percent(end) - percent(start)).max(MIN_WIDTH);
        let x = percent(start).min(100.0 - width);
        let is_unclean = run.end.is_some_and(RunEnd::is_unclean);
        let how = run.end.map_or_else(|| "running".to_owned(), |end| end.to_string());
        let version = run.version.as_deref();
        let label = match version {
            _ if width < MIN_LABEL_WIDTH => String::new(),
            Some(version) if is_unclean => format!("{version} \u{b7} {how}"),
            Some(version) => version.to_owned(),
            None => how.clone(),
        };
        let duration = precise_duration(std::time::Duration::from_secs_f64(end - start));
        let version = version.map(|version| format!("version {version}, ")).unwrap_or_default();
        Self {
            x,
            width,
            class: match run.end {
                None => "running",
                Some(_) if is_unclean => "failed",
                Some(_) => "ended",
            },
            label,
            title: format!("{version}pid {}, {duration}: {how}", run.pid),
        }
    }

    /// An attribute of the SVG, in percent with two decimals.
    pub(super) fn attribute(value: f64) -> String {
        format!("{value:.2}%")
    }
}

/// An array, because there may be 256 of them.
impl Serialize for BandRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { x, width, class, label, title } = self;
        (Self::attribute(*x), Self::attribute(*width), class, label, title).serialize(serializer)
    }
}
