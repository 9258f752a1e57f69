//! Names to ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plugin::{Clock, Plugin};
use crate::error::{NameError, RegisterError};
use crate::shared::command::{Change, Command, Line, PluginId};

/// The longest name and version, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 128;
/// As many plugins may be registered at once.
const MAX_PLUGINS: usize = 65_536;

/// Which names are registered. Its lock is taken by threads that register, remove and look up
/// handles, never by the sampler.
pub(crate) struct Registry {
    line: Arc<Line>,
    clock: Clock,
    names: Mutex<Names>,
}

struct Names {
    plugins: HashMap<Arc<str>, Plugin, foldhash::fast::RandomState>,
    last: u64,
    open: bool,
}

impl Registry {
    pub(crate) fn new(line: Arc<Line>, clock: Clock) -> Self {
        let names = Names { plugins: HashMap::default(), last: 0, open: true };
        Self { line, clock, names: Mutex::new(names) }
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        // Nothing that is done under the lock can leave it half done.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(self: &Arc<Self>, name: &str) -> Result<Plugin, RegisterError> {
        check_name(name)?;
        // In a forked child the lock may be held by a thread that does not exist there.
        if !self.line.is_home() {
            return Err(RegisterError::Stopped);
        }
        let mut names = self.lock();
        let Names { plugins, last, open } = &mut *names;
        if !*open || self.line.is_lost() {
            return Err(RegisterError::Stopped);
        }
        let full = plugins.len() >= MAX_PLUGINS;
        match plugins.entry(Arc::from(name)) {
            Entry::Occupied(_) => Err(RegisterError::AlreadyRegistered { name: name.to_owned() }),
            Entry::Vacant(_) if full => Err(RegisterError::TooManyPlugins { max: MAX_PLUGINS }),
            Entry::Vacant(vacant) => {
                *last += 1;
                let id = PluginId(*last);
                let name = Arc::clone(vacant.key());
                let (line, registry) = (Arc::clone(&self.line), Arc::downgrade(self));
                let plugin = Plugin::new(name, id, line, registry, self.clock);
                // Said under the lock, so that a removal and the next registration of a name
                // reach the sampler in their order.
                self.line.tell(Command::Change(Change::Register {
                    id,
                    name: Arc::clone(vacant.key()),
                    events: plugin.events().clone(),
                }));
                Ok(vacant.insert(plugin).clone())
            }
        }
    }

    pub(crate) fn plugin(&self, name: &str) -> Option<Plugin> {
        if !self.line.is_home() {
            return None;
        }
        self.lock().plugins.get(name).cloned()
    }

    /// Frees the name, if it is still that of the plugin `id`.
    pub(crate) fn remove(&self, name: &str, id: PluginId) {
        if !self.line.is_home() {
            return;
        }
        let mut names = self.lock();
        if names.open && names.plugins.get(name).is_some_and(|plugin| plugin.id() == id) {
            names.plugins.remove(name);
            self.line.tell(Command::Change(Change::Remove(id)));
        }
    }

    /// Nothing can be registered from now on. Whether that is news.
    pub(crate) fn close(&self) -> bool {
        std::mem::replace(&mut self.lock().open, false)
    }
}

fn check_name(name: &str) -> Result<(), RegisterError> {
    let reason = if name.is_empty() {
        NameError::Empty
    } else if name.len() > MAX_TEXT_BYTES {
        NameError::TooLong { max: MAX_TEXT_BYTES }
    } else if name.contains(char::is_control) {
        NameError::Control
    } else {
        return Ok(());
    };
    // A name of a gigabyte need not be copied to be refused.
    Err(RegisterError::InvalidName { name: cut(name).to_owned(), reason })
}

/// The first 128 bytes, or a little less: not in the middle of a character.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// A version as it is kept: without control characters, cut to 128 bytes; `None` if there is none.
pub(crate) fn clean_version(version: &str) -> Option<Arc<str>> {
    if version.is_empty() {
        return None;
    }
    if version.len() <= MAX_TEXT_BYTES && !version.contains(char::is_control) {
        return Some(Arc::from(version));
    }
    // Replacing may lengthen it, so it is cut after; what cannot matter is not replaced.
    let head: String = version.chars().take(MAX_TEXT_BYTES).collect();
    let clean = head.replace(char::is_control, "\u{fffd}");
    Some(Arc::from(cut(&clean)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_sampler_is_gone_nothing_is_registered_and_where_there_was_none_everything_is() {
        let registry = |was_open| {
            let (line, _commands) = Line::new(Box::new(|| ()), was_open);
            let line = Arc::new(line);
            (Arc::new(Registry::new(Arc::clone(&line), || None)), line)
        };
        let (sampled, line) = registry(true);
        assert!(sampled.register("before").is_ok());
        line.close();
        assert_eq!(sampled.register("after").unwrap_err(), RegisterError::Stopped);
        let (unsampled, _line) = registry(false);
        assert!(unsampled.register("dice").is_ok());
    }

    #[test]
    fn a_name_has_one_to_128_bytes_and_no_control_character() {
        for good in ["a", "..", "имя/\u{202e}x", &"ä".repeat(64), &"x".repeat(128)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for (bad, expected) in [
            ("", NameError::Empty),
            (&*"x".repeat(129), NameError::TooLong { max: 128 }),
            (&*"ä".repeat(65), NameError::TooLong { max: 128 }),
            ("a\0b", NameError::Control),
            ("a\u{85}", NameError::Control),
        ] {
            match check_name(bad) {
                Err(RegisterError::InvalidName { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_version_is_cleaned_and_then_cut_at_a_character() {
        let clean = |version: &str| clean_version(version).map(|v| v.to_string());
        assert_eq!(clean(""), None);
        assert_eq!(clean("1.0-β"), Some("1.0-β".to_owned()));
        assert_eq!(clean("1\n0\u{7f}"), Some("1\u{fffd}0\u{fffd}".to_owned()));
        assert_eq!(clean(&"x".repeat(500)), Some("x".repeat(128)));
        // Each of two bytes; 127 bytes and half a character do not end in half a character.
        let odd = format!("x{}", "ä".repeat(100));
        assert_eq!(clean(&odd), Some(format!("x{}", "ä".repeat(63))));
        // A control character is one byte, what takes its place three.
        assert_eq!(clean(&"\n".repeat(128)), Some("\u{fffd}".repeat(42)));
    }
}
