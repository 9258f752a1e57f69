//! What a plugin is doing, and what becomes of that when its process is gone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::run::EndKind;

/// What a plugin is doing, as its host or the sampler last said.
///
/// A plugin is [`Stopped`](Self::Stopped) when it is registered. The host moves it with
/// [`Plugin::started`](crate::Plugin::started), [`Plugin::set_state`](crate::Plugin::set_state) and
/// their kin; the sampler moves it when it finds the process gone.
///
/// ```
/// use plugmeter::PluginState;
///
/// assert_eq!(PluginState::Running.to_string(), "RUNNING");
/// assert_eq!("CRASHED".parse(), Ok(PluginState::Crashed));
/// assert!("crashed".parse::<PluginState>().is_err());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PluginState {
    /// No process, and none is wanted: not started yet, or ended cleanly.
    Stopped,
    /// The host is starting it.
    Starting,
    /// It runs.
    Running,
    /// It runs, but the host is not content with it.
    Unhealthy,
    /// The host is ending it: however the process ends now, that is no crash.
    Stopping,
    /// Its process ended in a way that nobody wanted.
    Crashed,
    /// The host has given it up, or what it named as the process is not one.
    Failed,
}

impl PluginState {
    /// All states, in the order in which they are listed above.
    pub(crate) const ALL: [Self; 7] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Unhealthy,
        Self::Stopping,
        Self::Crashed,
        Self::Failed,
    ];

    /// The word for it, as in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Unhealthy => "UNHEALTHY",
            Self::Stopping => "STOPPING",
            Self::Crashed => "CRASHED",
            Self::Failed => "FAILED",
        }
    }

    /// The state to show once the process of the open run was found gone by the sampler.
    pub(crate) const fn after_end(self, end: EndKind) -> Self {
        match (self, end) {
            (Self::Stopping, EndKind::Clean | EndKind::Unclean | EndKind::Unknown) => Self::Stopped,
            (Self::Starting | Self::Running | Self::Unhealthy, EndKind::Clean) => Self::Stopped,
            (
                Self::Starting | Self::Running | Self::Unhealthy,
                EndKind::Unclean | EndKind::Unknown,
            ) => Self::Crashed,
            (
                Self::Stopped | Self::Crashed | Self::Failed,
                EndKind::Clean | EndKind::Unclean | EndKind::Unknown,
            ) => self,
        }
    }

    /// Its number in a packed row: 1 to 7, so that zero can mean "no row".
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Stopped => 1,
            Self::Starting => 2,
            Self::Running => 3,
            Self::Unhealthy => 4,
            Self::Stopping => 5,
            Self::Crashed => 6,
            Self::Failed => 7,
        }
    }

    /// The state of a packed row's number; `None` for zero.
    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            1..=7 => Some(Self::ALL[code as usize - 1]),
            _ => None,
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The text is none of the words for a [`PluginState`].
///
/// ```
/// let error = "SLEEPY".parse::<plugmeter::PluginState>().unwrap_err();
/// assert_eq!(error.to_string(), "\"SLEEPY\" is no plugin state");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseStateError(String);

impl fmt::Display for ParseStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no plugin state", self.0)
    }
}

impl std::error::Error for ParseStateError {}

impl FromStr for PluginState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|state| state.word() == text);
        known.ok_or_else(|| ParseStateError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_code_and_a_word_of_its_own_and_comes_back_from_both() {
        for (i, state) in PluginState::ALL.into_iter().enumerate() {
            assert_eq!(state.code() as usize, i + 1);
            assert_eq!(PluginState::from_code(state.code()), Some(state));
            assert_eq!(state.word().parse(), Ok(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
            assert_eq!(serde_json::from_str::<PluginState>(&json).unwrap(), state);
        }
        assert_eq!(PluginState::from_code(0), None);
        assert_eq!(PluginState::from_code(8), None);
    }

    #[test]
    fn an_end_that_was_announced_is_never_shown_as_a_crash() {
        for end in [EndKind::Clean, EndKind::Unclean, EndKind::Unknown] {
            assert_eq!(PluginState::Stopping.after_end(end), PluginState::Stopped);
        }
    }
}
