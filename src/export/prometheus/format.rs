//! The two formats, and content negotiation.

/// A text format that Prometheus can parse.
///
/// ```
/// use plugmeter::prometheus::Format;
///
/// let format = Format::negotiate("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
/// assert_eq!(format, Format::OpenMetrics);
/// assert_eq!(Format::negotiate("*/*"), Format::Prometheus);
/// assert_eq!(Format::Prometheus.content_type(), "text/plain; version=0.0.4; charset=utf-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenMetrics 1.0, which has units, infos and statesets.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which every scraper supports.
    Prometheus,
}

impl Format {
    /// Chooses the format for a request whose header `Accept` is `accept`. Join several such headers
    /// with commas; pass `""` if there is none.
    ///
    /// The result is OpenMetrics only if the header names it, without a version or with 1.0.0, with
    /// a quality above 0 that is not below the quality of `text/plain`. A wildcard never selects it,
    /// and unknown parameters are ignored. Otherwise it is [`Prometheus`](Self::Prometheus). The grammar
    /// is that of RFC 9110, section 12.5.1.
    #[must_use]
    pub fn negotiate(accept: &str) -> Self {
        let mut open_metrics = 0;
        // By specificity of the range: the most specific one that covers text/plain counts.
        let mut text = [None; 3];
        for range in split(accept, b',').filter_map(Range::parse) {
            let precision =
                if range.is("application/openmetrics-text") && range.is_version_supported {
                    open_metrics = open_metrics.max(range.quality);
                    continue;
                } else if range.is("text/plain") {
                    0
                } else if range.is("text/*") {
                    1
                } else if range.is("*/*") {
                    2
                } else {
                    continue;
                };
            text[precision] = text[precision].max(Some(range.quality));
        }
        let text = text.into_iter().flatten().next().unwrap_or(0);
        if open_metrics > 0 && open_metrics >= text { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of the header `Content-Type` for this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One element of the header.
struct Range<'a> {
    media_type: &'a str,
    is_version_supported: bool,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` if the quality is invalid.
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = split(element, b';');
        let media_type = parts.next()?;
        let mut range = Self { media_type, is_version_supported: true, quality: 1_000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (name.trim(), value.trim());
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            if name.eq_ignore_ascii_case("q") {
                range.quality = quality(value)?;
            } else if name.eq_ignore_ascii_case("version") {
                range.is_version_supported &= value == "1.0.0";
            }
        }
        Some(range)
    }

    fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }
}

/// A `qvalue`: 0 to 1 with at most three decimals; in thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !digits {
        return None;
    }
    let thousandths = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// Splits `text` at separators outside quoted strings, and trims the parts.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let in_string = quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !in_string && c == char::from(separator)
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_gets(accept: &str, expected: Format) {
        assert_eq!(Format::negotiate(accept), expected, "Accept: {accept}");
    }

    #[test]
    fn named_open_metrics_is_selected() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
            "Application/OpenMetrics-Text ; Version=1.0.0 ; Q=0.001",
            "text/html, application/openmetrics-text",
            "text/html;level=\"a,b;q=0\\\",\" , application/openmetrics-text",
        ] {
            assert_gets(accept, Format::OpenMetrics);
        }
        for accept in ["", ",", "text/plain", "application/json", "openmetrics", "q=1", "\"", "=;,"]
        {
            assert_gets(accept, Format::Prometheus);
        }
    }

    #[test]
    fn wildcard_selects_prometheus() {
        for accept in ["*/*", "application/*", "application/*, text/plain;q=0.1", "*/*;q=0.9"] {
            assert_gets(accept, Format::Prometheus);
        }
        assert_gets("application/openmetrics-text, */*", Format::OpenMetrics);
    }

    #[test]
    fn other_open_metrics_version_is_ignored() {
        for accept in [
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;version=",
            "application/openmetrics-text;version=0.0.1, text/plain;q=0.1",
        ] {
            assert_gets(accept, Format::Prometheus);
        }
        let either = "application/openmetrics-text;version=0.0.1,application/openmetrics-text;version=1.0.0;q=0.2";
        assert_gets(either, Format::OpenMetrics);
    }

    #[test]
    fn higher_quality_wins_and_a_tie_is_open_metrics() {
        for (open_metrics, text, expected) in [
            ("1", "0.5", Format::OpenMetrics),
            ("0.5", "0.5", Format::OpenMetrics),
            ("0.499", "0.5", Format::Prometheus),
            ("0.5", "0.50", Format::OpenMetrics),
            ("0.5", "1", Format::Prometheus),
            ("0", "0", Format::Prometheus),
            ("0.000", "0", Format::Prometheus),
            ("0.001", "0", Format::OpenMetrics),
        ] {
            let accept =
                format!("application/openmetrics-text;q={open_metrics},text/plain;q={text}");
            assert_gets(&accept, expected);
            let accept =
                format!("text/plain;q={text},application/openmetrics-text;q={open_metrics}");
            assert_gets(&accept, expected);
        }
        assert_gets("application/openmetrics-text;q=0.5, text/plain", Format::Prometheus);
    }

    #[test]
    fn most_specific_text_range_counts() {
        assert_gets("application/openmetrics-text;q=0.5, */*;q=0.8", Format::Prometheus);
        assert_gets(
            "application/openmetrics-text;q=0.5, text/*;q=0.8, */*;q=0",
            Format::Prometheus,
        );
        let better = "application/openmetrics-text;q=0.5, */*;q=0.8, text/plain;q=0.1";
        assert_gets(better, Format::OpenMetrics);
    }

    #[test]
    fn element_with_invalid_quality_is_ignored() {
        for quality in ["2", "1.001", "-1", "0.1234", "NaN", "", ".5", "0,5", "1e-3", "+1"] {
            let accept = format!("application/openmetrics-text;q={quality}");
            assert_gets(&accept, Format::Prometheus);
        }
    }

    #[test]
    fn real_scrapers_get_open_metrics() {
        assert_gets("application/openmetrics-text;escaping=allow-utf-8;x", Format::OpenMetrics);
        // Prometheus 2.42, and 3.
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ] {
            assert_gets(accept, Format::OpenMetrics);
        }
    }
}
