//! Names that do their worst, and screens of any size.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;

use crate::test_host::{TestHost, press};
use plugmeter_top::app::App;

fn hostile() -> Vec<String> {
    vec![
        "x".repeat(128),
        "骰".repeat(42),
        "שלום עולם".to_owned(),
        format!("z{}", "\u{301}".repeat(60)),
        "\u{301}leading mark".to_owned(),
        "👩\u{200d}👩\u{200d}👧\u{200d}👦".to_owned(),
        "\u{202e}drawkcab".to_owned(),
        "لا إله".to_owned(),
        "\u{2028}".to_owned(),
        "🇩🇪 flag".to_owned(),
        " ".to_owned(),
    ]
}

fn test_host() -> TestHost {
    let mut host = TestHost::new();
    for (name, pid) in hostile().iter().zip(1..) {
        host.run(name, pid, 60, 120);
    }
    host.run("plain", 99, 1, 1);
    host.ticks(3);
    host
}

fn symbols(buf: &Buffer, y: u16) -> Vec<&str> {
    (0..buf.area.width).map(|x| buf[(x, y)].symbol()).collect()
}

#[test]
fn states_align_with_any_name() {
    let host = test_host();
    for width in [60, 80, 100, 200] {
        let buf = host.buffer(&mut App::default(), (width, 50), Duration::ZERO);
        let lines: Vec<_> = (0..50).map(|y| symbols(&buf, y)).collect();
        let heading = lines.iter().position(|line| line[2..8].concat() == "PLUGIN").unwrap();
        let find = |line: &[&str], word: &str| {
            (0..line.len().saturating_sub(word.len()))
                .find(|&x| line[x..x + word.len()].concat() == word)
        };
        let state = find(&lines[heading], "STATE").unwrap();
        for row in &lines[heading + 1..heading + 1 + 12] {
            assert_eq!(find(row, "RUNNING"), Some(state), "{}", row.concat());
        }
    }
}

#[test]
fn any_size_draws_without_panic() {
    let host = test_host();
    let keys: [&[KeyCode]; 4] =
        [&[], &[KeyCode::Enter], &[KeyCode::Char('?')], &[KeyCode::Char('/'), KeyCode::Char('x')]];
    for keys in keys {
        let mut app = App::default();
        host.lines(&mut app, (80, 24), Duration::ZERO);
        press(&mut app, keys.iter().copied());
        for width in (1..40).chain([79, 80, 81, 119, 120, 121, 200, 500]) {
            for height in (1..30).chain([50, 100]) {
                host.buffer(&mut app, (width, height), Duration::ZERO);
            }
        }
    }
}

#[test]
fn cells_contain_no_control_characters() {
    let host = test_host();
    for keys in [&[][..], &[KeyCode::Enter]] {
        let mut app = App::default();
        host.lines(&mut app, (200, 50), Duration::ZERO);
        for _ in hostile() {
            press(&mut app, keys.iter().copied());
            let buf = host.buffer(&mut app, (200, 50), Duration::ZERO);
            for cell in buf.content() {
                let obeyed = |ch: char| {
                    ch.is_control()
                        || matches!(ch, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                };
                assert!(!cell.symbol().contains(obeyed), "{:?}", cell.symbol());
            }
            press(&mut app, [KeyCode::Down]);
        }
    }
}
