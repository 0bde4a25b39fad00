use std::sync::Arc;

use super::*;

const WINDOW: Duration = Duration::from_secs(5);

fn options(throttle: Limits) -> Options {
    Options { throttle, ..Options::default() }
}

fn bytes_per_s(rate: f64) -> Options {
    options(Limits { copy_bytes: Some(rate), ..Limits::default() })
}

/// What passed when, of several workers that send without a pause.
struct Run {
    tell: watch::Sender<Options>,
    throttle: Arc<Throttle>,
    passed: Arc<Mutex<Vec<(Instant, f64)>>>,
    workers: tokio::task::JoinSet<()>,
    begun: Instant,
}

impl Run {
    fn start(options: Options, workers: usize, mut piece: impl FnMut(usize) -> Box<dyn FnMut() -> u64 + Send>) -> Run {
        let (tell, hear) = watch::channel(options);
        let throttle = Arc::new(Throttle::new(hear, Direction::Forward));
        let mut run = Run { tell, throttle, passed: Arc::default(), workers: Default::default(), begun: Instant::now() };
        for number in 0..workers {
            let (throttle, passed, mut piece) = (run.throttle.clone(), run.passed.clone(), piece(number));
            run.workers.spawn(async move {
                loop {
                    let bytes = piece();
                    throttle.copied(1, bytes).await;
                    passed.lock().expect("lock").push((Instant::now(), bytes as f64));
                    if throttle.limits() == Limits::default() {
                        // The clock would stand still.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        run
    }

    fn of(piece: u64, rate: f64, workers: usize) -> Run {
        Run::start(bytes_per_s(rate), workers, |_| Box::new(move || piece))
    }

    /// What has passed in `[from, to)`.
    fn between(&self, from: Instant, to: Instant) -> f64 {
        self.passed.lock().expect("lock").iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, n)| n).sum()
    }

    /// The most that any five seconds from `from` on held.
    fn most(&self, from: Instant) -> f64 {
        let passed = self.passed.lock().expect("lock");
        let (mut most, mut sum, mut first) = (0.0f64, 0.0, 0);
        let passed: Vec<_> = passed.iter().filter(|(at, _)| *at >= from).collect();
        for (at, amount) in &passed {
            sum += amount;
            while passed[first].0 + WINDOW <= *at {
                sum -= passed[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn many_workers_together_get_what_was_asked_for_and_not_more() {
    for (workers, piece) in [(1, 100), (1, 64_000), (8, 64_000), (64, 64_000), (64, 90)] {
        let run = Run::of(piece, 1e6, workers);
        pass(12.0).await;
        let (most, all) = (run.most(run.begun), run.between(run.begun, Instant::now()));
        assert!(most <= 5.5e6, "{workers} workers, pieces of {piece}: {most} in five seconds");
        assert!(all >= 0.95 * 12e6, "{workers} workers, pieces of {piece}: only {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn pieces_of_more_than_a_second_never_make_a_window_too_full() {
    for piece in [700_000, 1_500_000, 2_000_000, 2_600_000, 4_000_000, 5_400_000] {
        let run = Run::of(piece, 1e6, 3);
        pass(120.0).await;
        let (most, all) = (run.most(run.begun), run.between(run.begun, Instant::now()));
        assert!(most <= 5.5e6, "pieces of {piece}: {most} in five seconds");
        assert!(all >= 0.45 * 120e6, "pieces of {piece}: only {all}");
    }
    // A piece that is more than a window's worth is alone in it, after its time is paid.
    let run = Run::of(20_000_000, 1e6, 3);
    pass(101.0).await;
    assert_eq!(run.between(run.begun, Instant::now()), 100e6);
    assert_eq!(run.most(run.begun), 20e6);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_saved_up_while_nobody_asks() {
    let (_tell, hear) = watch::channel(bytes_per_s(1000.0));
    let throttle = Throttle::new(hear, Direction::Forward);
    throttle.copied(1, 100).await;
    pass(3600.0).await;
    let begun = Instant::now();
    for _ in 0..100 {
        throttle.copied(1, 10).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(899), "{:?}", begun.elapsed());
    pass(3600.0).await;
    let begun = Instant::now();
    throttle.copied(1, 2000).await;
    assert!(begun.elapsed() >= Duration::from_millis(1890), "a large piece neither: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lowered_rate_counts_at_once_and_so_does_a_raised_one() {
    let run = Run::of(50_000, 10e6, 8);
    pass(20.0).await;
    run.tell.send_replace(bytes_per_s(1e6));
    let lowered = Instant::now();
    pass(20.0).await;
    let (most, all) = (run.most(lowered), run.between(lowered, Instant::now()));
    assert!((most <= 5.5e6) && (all >= 0.95 * 20e6), "{most} in five seconds, {all} in all");

    run.tell.send_replace(bytes_per_s(1000.0));
    let lowest = Instant::now();
    pass(20.0).await;
    assert_eq!(run.between(lowest, Instant::now()), 0.0, "a piece costs 50 seconds now, however much was paid before");
    run.tell.send_replace(bytes_per_s(5e6));
    let raised = Instant::now();
    pass(2.0).await;
    let all = run.between(raised, Instant::now());
    assert!(all >= 0.9 * 10e6, "nobody sleeps out the old wait: {all}");
    assert!(run.most(raised) <= 27.5e6);

    run.tell.send_replace(Options::default());
    let free = Instant::now();
    pass(1.0).await;
    assert!(run.between(free, Instant::now()) > 8.0 * 900.0 * 50_000.0, "no limit, no wait");
    run.tell.send_replace(bytes_per_s(1e6));
    let limited = Instant::now();
    pass(20.0).await;
    assert!(run.most(limited) <= 5.5e6);
}

#[tokio::test(start_paused = true)]
async fn the_stricter_of_two_limits_counts_and_the_parts_do_not_share_them() {
    let limits = Limits { copy_rows: Some(100.0), copy_bytes: Some(1e6), copy_queries: Some(2.0), ..Limits::default() };
    let run = Run::start(options(limits), 4, |_| Box::new(|| 1000));
    let begun = Instant::now();
    for _ in 0..20 {
        run.throttle.query().await;
    }
    assert!((9.0..10.5).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    let begun = Instant::now();
    run.throttle.applied(1_000_000, 1_000_000_000).await;
    assert!(begun.elapsed() < Duration::from_millis(2), "the stream has no limit");
    pass(10.0).await;
    let rows = run.passed.lock().expect("lock").len() as f64 / run.begun.elapsed().as_secs_f64();
    assert!((95.0..=102.0).contains(&rows), "{rows} rows per second");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_something_else_gives_nothing_away() {
    let run = Run::of(100_000, 1e6, 4);
    for jobs in 1..400 {
        run.tell.send_replace(Options { copy_jobs: jobs % 64 + 1, ..bytes_per_s(1e6) });
        pass(0.05).await;
    }
    let (most, all) = (run.most(run.begun), run.between(run.begun, Instant::now()));
    assert!(most <= 5.5e6 && all >= 0.9 * 20e6, "{most} {all}");
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_he_waits_costs_nothing() {
    let (_tell, hear) = watch::channel(bytes_per_s(1000.0));
    let throttle = Throttle::new(hear, Direction::Forward);
    assert!(tokio::time::timeout(Duration::from_secs(1), throttle.copied(1, 1_000_000)).await.is_err());
    let begun = Instant::now();
    throttle.copied(1, 500).await;
    assert!(begun.elapsed() <= Duration::from_millis(510), "{:?}", begun.elapsed());
    assert_eq!(throttle.passed().bytes_copied, 500);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_waiting_is_known_while_it_lasts() {
    let (tell, hear) = watch::channel(bytes_per_s(1000.0));
    let throttle = Arc::new(Throttle::new(hear, Direction::Forward));
    let waiting = throttle.clone();
    let piece = tokio::spawn(async move { waiting.copied(1, 60_000).await });
    pass(3.0).await;
    let seconds = |d: Duration| d.as_secs_f64().round();
    assert_eq!(seconds(throttle.passed().copy_held), 3.0);
    tell.send_replace(Options::default());
    piece.await.expect("it ends");
    pass(3.0).await;
    assert_eq!(seconds(throttle.passed().copy_held), 3.0);
    assert_eq!(throttle.passed().stream_held, Duration::ZERO);
}

#[test]
fn a_piece_is_what_the_limits_give_in_a_tenth_of_a_second() {
    let piece = |limits, row| {
        let (_tell, hear) = watch::channel(options(limits));
        Throttle::new(hear, Direction::Forward).copy_piece(65536, row)
    };
    let none = Limits::default();
    assert_eq!(piece(none, 10.0), 65536);
    assert_eq!(piece(Limits { copy_bytes: Some(1e9), ..none }, 10.0), 65536);
    assert_eq!(piece(Limits { copy_bytes: Some(1e5), ..none }, 10.0), 10_000);
    assert_eq!(piece(Limits { copy_bytes: Some(1e5), copy_rows: Some(1000.0), ..none }, 20.0), 2000);
    assert_eq!(piece(Limits { copy_rows: Some(0.001), ..none }, 20.0), 16);
}

/// Any pieces, any workers, any changes: what passes in five seconds is what was asked for in them, and a tenth more.
#[tokio::test(start_paused = true)]
async fn random_pieces_under_random_rates_keep_the_rule() {
    let seed: u64 = std::env::var("PGRELAY_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64 | 1));
    println!("PGRELAY_SEED={seed}");
    for round in 0..10u64 {
        let mut random = xorshift(seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        let workers = 1 + random() as usize % 12;
        // Pieces of up to 0.3 s at the lowest rate, rates that differ up to three times.
        let (lowest, largest) = (10_000.0, 500 + random() % 2500);
        let mut rate = lowest * (1.0 + (random() % 200) as f64 / 100.0);
        let mut rates = vec![(Instant::now(), rate)];
        let mut seeds: Vec<u64> = (0..workers).map(|_| random() | 1).collect();
        let run = Run::start(bytes_per_s(rate), workers, |_| {
            let mut random = xorshift(seeds.pop().unwrap_or(1));
            Box::new(move || largest / 10 + random() % largest)
        });
        for _ in 0..10 {
            pass((random() % 8000) as f64 / 1000.0).await;
            rate = lowest * (1.0 + (random() % 200) as f64 / 100.0);
            run.tell.send_replace(bytes_per_s(rate));
            rates.push((Instant::now(), rate));
        }
        pass(5.0).await;
        let end = Instant::now();
        let passed = run.passed.lock().expect("lock").clone();
        for (from, _) in passed.iter().filter(|(at, _)| *at + WINDOW <= end) {
            let held: f64 = passed.iter().filter(|(at, _)| (*from..*from + WINDOW).contains(at)).map(|(_, n)| n).sum();
            let asked = asked_between(&rates, *from, *from + WINDOW);
            assert!(held <= 1.1 * asked, "round {round}: {held} where {asked} was asked for");
        }
        let (all, asked) = (passed.iter().map(|(_, n)| n).sum::<f64>(), asked_between(&rates, run.begun, end));
        assert!(all >= 0.9 * asked, "round {round}: only {all} of {asked}");
    }
}

fn asked_between(rates: &[(Instant, f64)], from: Instant, to: Instant) -> f64 {
    let ends = rates.iter().skip(1).map(|(at, _)| *at).chain([to.max(from)]);
    let part =
        |((begin, rate), end): (&(Instant, f64), Instant)| end.min(to).saturating_duration_since(from.max(*begin)).as_secs_f64() * rate;
    rates.iter().zip(ends).map(part).sum()
}

fn xorshift(mut state: u64) -> impl FnMut() -> u64 + Send {
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
