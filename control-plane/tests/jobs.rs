//! Jobs: begun, carried out once whoever dies, steered, and what is in the files that they make.
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Api, eventually, insert_call, with_configured_api};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};
use warp_control_plane::jobs::{ATTEMPTS, Spool};
use warp_control_plane::store::Scope;
use warp_control_plane::{Config, Database};

/// Runs a test against an API whose jobs put their files into a folder.
fn with_jobs<F, Fut>(test: F)
where
    F: FnOnce(Arc<Api>, PathBuf) -> Fut,
    Fut: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("jobs");
    let spool = Spool { dir: dir.clone(), node: "n1".into() };
    with_configured_api(|c| c.spool = Some(spool), |api| test(api, dir));
}

async fn sql(api: &Api, text: &'static str) -> u64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let done = sqlx::query(text).execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
    done.rows_affected()
}

/// A customer with a key and a trunk.
async fn customer(api: &Api, name: &str) -> (String, String, String) {
    let (customer, key) = api.customer(name).await;
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
    (customer, key, trunk["id"].as_str().unwrap().to_owned())
}

/// Begins an export; the path of its job.
async fn export(api: &Api, key: &str, of: &str, body: Value) -> String {
    let r = api.call(key, "POST", &format!("{of}/calls/export"), Some(body)).await;
    assert_eq!(r.status, 202, "{}", r.body);
    assert_eq!(r.data()["status"], "queued");
    r.header("location").unwrap().to_owned()
}

/// The job once it stands so.
async fn standing(api: &Api, key: &str, job: &str, status: &str) -> Value {
    eventually(&format!("{job} is {status}"), async || {
        let now = api.call(key, "GET", job, None).await.data();
        (now["status"] == status).then_some(now)
    })
    .await
}

/// The file of a job, as it comes over HTTP.
async fn downloaded(api: &Api, key: &str, job: &str) -> Vec<u8> {
    let (addr, path) = (api.control.addr, format!("{job}/file"));
    let (key, answer) = (key.to_owned(), path.clone());
    let bytes = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut socket = std::net::TcpStream::connect(addr).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        all
    })
    .await
    .unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let body = bytes[end + 4..].to_vec();
    assert!(head.starts_with("http/1.1 200"), "{answer}: {head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(head.contains("content-disposition: attachment; filename=\"job_"), "{head}");
    body
}

fn lines(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
    reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// The cells of a column.
fn column(lines: &[Vec<String>], name: &str) -> Vec<String> {
    let at = lines[0].iter().position(|n| n == name).unwrap_or_else(|| panic!("no column {name}"));
    lines[1..].iter().map(|l| l[at].clone()).collect()
}

#[test]
fn t_api_04_an_export_has_the_calls_of_whoever_began_it_and_costs_for_operators_only() {
    with_jobs(|api, _| async move {
        let (acme, key, trunk) = customer(&api, "Acme").await;
        let (_, other, _) = customer(&api, "Other").await;
        let first = insert_call(&api, &acme, &trunk).await;
        let second = insert_call(&api, &acme, &trunk).await;
        sql(&api, "UPDATE calls SET caller = '=1+1', margin = 1 WHERE caller_hidden = false").await;
        let job = export(&api, &key, "/api/v1", json!({ "outcome": "answered" })).await;
        let done = standing(&api, &key, &job, "done").await;
        assert_eq!(
            (&done["percent"], &done["result"]["rows"], &done["attempts"]),
            (&json!(100), &json!(2), &json!(1))
        );
        assert!(done.get("node").is_none() && done.get("next_at").is_none(), "{done}");
        let file = downloaded(&api, &key, &job).await;
        assert_eq!(done["file"]["bytes"], file.len());
        let lines = lines(&file);
        assert_eq!(column(&lines, "id"), [first.clone(), second.clone()]);
        assert_eq!(column(&lines, "price"), ["0.01", "0.01"]);
        assert_eq!(column(&lines, "price_currency"), ["USD", "USD"]);
        assert_eq!(column(&lines, "setup_at")[0], "2026-11-22T13:14:45.000Z");
        assert_eq!(column(&lines, "caller")[0], "'=1+1", "nothing that a spreadsheet runs");
        let text = String::from_utf8(file).unwrap();
        for hidden in ["vnd_", "vtk_", "cost", "margin"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        // For an operator, of that customer.
        let body = json!({ "customer_id": acme, "cursor": null });
        let job_of_ours = export(&api, &api.operator, "/api/v1/admin", body).await;
        let done = standing(&api, &api.operator, &job_of_ours, "done").await;
        assert_eq!((&done["customer_id"], &done["node"]), (&Value::Null, &json!("n1")));
        let lines = self::lines(&downloaded(&api, &api.operator, &job_of_ours).await);
        assert_eq!(column(&lines, "cost"), ["0.01", "0.01"]);
        assert_eq!(column(&lines, "vendor_id")[0], "vnd_00000000000000000000000001");
        // Nobody else has it: not the job, not its file, not by another customer's filter.
        let id = job_of_ours.rsplit('/').next().unwrap();
        for (key, path) in [(&other, job.clone()), (&key, format!("/api/v1/jobs/{id}"))] {
            for path in [path.clone(), format!("{path}/file")] {
                assert_eq!(api.call(key, "GET", &path, None).await.status, 404, "{path}");
            }
            for verb in ["cancel", "retry"] {
                assert_eq!(api.call(key, "POST", &format!("{path}/{verb}"), None).await.status, 404);
            }
        }
        let r = api.call(&key, "POST", "/api/v1/calls/export", Some(json!({ "customer_id": acme }))).await;
        assert_eq!(
            (r.status, r.json()["error"]["details"][0]["code"].clone()),
            (422, json!("operators_only"))
        );
        let job = export(&api, &other, "/api/v1", json!({})).await;
        assert_eq!(standing(&api, &other, &job, "done").await["result"]["rows"], 0);
        assert_eq!(self::lines(&downloaded(&api, &other, &job).await).len(), 1, "the names alone");
    });
}

#[test]
fn an_export_goes_on_where_the_last_one_ended_and_a_key_without_calls_read_has_none() {
    with_jobs(|api, _| async move {
        let (acme, key, trunk) = customer(&api, "Acme").await;
        insert_call(&api, &acme, &trunk).await;
        let first = export(&api, &key, "/api/v1", json!({})).await;
        let cursor = standing(&api, &key, &first, "done").await["result"]["last_cursor"].clone();
        let second = insert_call(&api, &acme, &trunk).await;
        let next = export(&api, &key, "/api/v1", json!({ "cursor": cursor })).await;
        let done = standing(&api, &key, &next, "done").await;
        assert_eq!(done["result"]["rows"], 1);
        assert_eq!(column(&lines(&downloaded(&api, &key, &next).await), "id"), [second]);
        // Nothing since then: the place stays.
        let cursor = done["result"]["last_cursor"].clone();
        let last = export(&api, &key, "/api/v1", json!({ "cursor": cursor })).await;
        assert_eq!(
            standing(&api, &key, &last, "done").await["result"],
            json!({ "rows": 0, "last_cursor": cursor })
        );
        let scopes = json!({ "name": "k", "scopes": ["jobs:read", "jobs:write"] });
        let weak = api.key_alone(Some(&acme), scopes).await["secret"].as_str().unwrap().to_owned();
        assert_eq!(api.call(&weak, "POST", "/api/v1/calls/export", Some(json!({}))).await.status, 403);
        assert_eq!(api.call(&weak, "GET", &next, None).await.status, 200);
        assert_eq!(api.call(&weak, "GET", &format!("{next}/file"), None).await.status, 403);
        // Whoever listens hears of it.
        let events = api.call(&key, "GET", "/api/v1/events?type=job.done", None).await.data();
        assert_eq!(events.as_array().unwrap().len(), 3, "{events}");
    });
}

#[test]
fn a_parquet_file_has_the_same_records_with_exact_decimals_and_times() {
    with_jobs(|api, dir| async move {
        let (acme, key, trunk) = customer(&api, "Acme").await;
        let id = insert_call(&api, &acme, &trunk).await;
        sql(&api, "UPDATE calls SET sell = 123456789012345678").await;
        let job = export(&api, &key, "/api/v1", json!({ "format": "parquet" })).await;
        let done = standing(&api, &key, &job, "done").await;
        let file = downloaded(&api, &key, &job).await;
        let at = dir.join(done["file"]["name"].as_str().unwrap());
        assert_eq!(std::fs::read(&at).unwrap(), file);
        let reader = SerializedFileReader::new(std::fs::File::open(at).unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 1);
        let cell = |name: &str| {
            let mut cells = rows[0].get_column_iter();
            cells.find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no column {name}")).1.clone()
        };
        assert_eq!(cell("id"), Field::Str(id));
        assert_eq!(cell("number_id"), Field::Null);
        assert_eq!(cell("setup_at"), Field::TimestampMicros(1_795_353_285_000_000));
        assert_eq!(cell("recovered"), Field::Bool(false));
        let Field::Decimal(price) = cell("price") else { panic!("{:?}", cell("price")) };
        assert_eq!((price.scale(), price.precision()), (9, 18));
        let bytes: [u8; 8] = price.data().try_into().unwrap();
        assert_eq!(i64::from_be_bytes(bytes), 123_456_789_012_345_678);
        // What the type does not hold is refused, not cut.
        sql(&api, "UPDATE calls SET sell = 1000000000000000000").await;
        let job = export(&api, &key, "/api/v1", json!({ "format": "parquet" })).await;
        let waits = eventually("an attempt that failed", async || {
            let now = api.call(&key, "GET", &job, None).await.data();
            now["error"].is_string().then_some(now)
        })
        .await;
        assert_eq!(
            (&waits["status"], &waits["error"]),
            (&json!("queued"), &json!("the file could not be written"))
        );
    });
}

#[test]
fn a_job_is_cancelled_begun_anew_deleted_and_there_are_twenty_at_most() {
    // Nobody carries them out.
    common::with_api(|api| async move {
        let (_, key, _) = customer(&api, "Acme").await;
        let job = export(&api, &key, "/api/v1", json!({})).await;
        let r = api.call(&key, "GET", &format!("{job}/file"), None).await;
        assert_eq!((r.status, r.code().as_str()), (409, "conflict"));
        assert_eq!(api.call(&key, "DELETE", &job, None).await.status, 409, "it is not over");
        assert_eq!(api.call(&key, "POST", &format!("{job}/retry"), None).await.status, 409);
        for _ in 0..2 {
            let cancelled = api.call(&key, "POST", &format!("{job}/cancel"), None).await.data();
            assert_eq!((&cancelled["status"], &cancelled["version"]), (&json!("cancelled"), &json!(2)));
        }
        let again = api.call(&key, "POST", &format!("{job}/retry"), None).await.data();
        assert_eq!((&again["status"], &again["finished_at"]), (&json!("queued"), &Value::Null));
        for _ in 1..20 {
            export(&api, &key, "/api/v1", json!({})).await;
        }
        let r = api.call(&key, "POST", "/api/v1/calls/export", Some(json!({}))).await;
        assert_eq!(r.status, 409, "{}", r.body);
        let (_, other, _) = customer(&api, "Other").await;
        export(&api, &other, "/api/v1", json!({})).await;
        api.call(&key, "POST", &format!("{job}/cancel"), None).await.data();
        assert_eq!(api.call(&key, "DELETE", &job, None).await.status, 200);
        assert_eq!(api.call(&key, "GET", &job, None).await.status, 404);
        let lines = api.call(&key, "GET", "/api/v1/audit?limit=200", None).await.data();
        let id = job.rsplit('/').next().unwrap();
        let of_job = lines.as_array().unwrap().iter().filter(|l| l["object"] == id);
        let actions: Vec<&str> = of_job.map(|l| l["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["job.delete", "job.cancel", "job.retry", "job.cancel", "job.create"]);
    });
}

#[test]
fn a_job_whose_workers_are_gone_each_time_fails_and_says_so() {
    with_jobs(|api, dir| async move {
        let (acme, key, trunk) = customer(&api, "Acme").await;
        insert_call(&api, &acme, &trunk).await;
        // Its worker is somebody else, who is dead; this was the last time.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        for (id, attempts) in
            [("job_00000000000000000000000001", ATTEMPTS), ("job_00000000000000000000000002", 1)]
        {
            sqlx::query(
                "INSERT INTO jobs (id, customer_id, kind, call_export, status, attempts, epoch, lease_until)
                VALUES ($1, $2, 'call_export', '{}', 'running', $3, 7, now() - interval '1 second')",
            )
            .bind(id)
            .bind(&acme)
            .bind(attempts)
            .execute(tx.db())
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        let failed = standing(&api, &key, "/api/v1/jobs/job_00000000000000000000000001", "failed").await;
        assert_eq!(failed["error"], "whoever carried it out was gone each time");
        let taken_up = standing(&api, &key, "/api/v1/jobs/job_00000000000000000000000002", "done").await;
        assert_eq!((&taken_up["attempts"], &taken_up["result"]["rows"]), (&json!(2), &json!(1)));
        let file = "job_00000000000000000000000002-8.csv";
        assert_eq!(taken_up["file"]["name"], file);
        // What nobody needs goes; what a job has stays.
        for name in
            ["job_00000000000000000000000002-7.csv.part", "job_00000000000000000000000009-1.csv", "other"]
        {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        warp_control_plane::jobs::spool::sweep(&api.control.app, &dir).await.unwrap();
        let mut left: Vec<String> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [file, "other"]);
        let events = api.call(&key, "GET", "/api/v1/events?type=job.failed", None).await.data();
        assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    });
}

/// The process that writes an export is killed in the middle: the next one makes the whole file, and nothing of the first is left.
#[test]
fn an_export_outlives_the_process_that_writes_it() {
    if let Ok(told) = std::env::var("JOBS_CHILD") {
        return child(&told);
    }
    const ROWS: usize = 40_000;
    let Some(cluster) = common::cluster() else { return };
    common::with_database(|store| async move {
        let place: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(store.listen_pool())
            .await
            .unwrap();
        let options = cluster.options("warp_app", &place);
        let socket = options.get_socket().expect("a socket").display().to_string();
        let url = format!("postgres://warp_app@localhost/{place}?host={socket}&port={}", options.get_port());
        let folder = tempfile::tempdir().unwrap();
        // The customer, its calls and the job, without anybody who carries it out.
        let mut idle = settings(folder.path());
        idle.spool = None;
        let control = warp_control_plane::start_on(store.clone(), idle, common::handles()).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = Api { control, operator };
        let (acme, key, trunk) = customer(&api, "Acme").await;
        let call = insert_call(&api, &acme, &trunk).await;
        for from in (0..ROWS).step_by(5_000) {
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            tx.allow_long_statements().await.unwrap();
            sqlx::query(
                "INSERT INTO calls SELECT (jsonb_populate_record(c, jsonb_build_object('cdr_id',
                    left(c.cdr_id, -6) || lpad(to_hex(g), 6, '0')))).* FROM calls c, generate_series($1::bigint + 1, $1::bigint + 5000) g
                    WHERE c.cdr_id = $2",
            )
            .bind(i64::try_from(from).unwrap())
            .bind(&call)
            .execute(tx.db())
            .await
            .unwrap();
            tx.commit().await.unwrap();
        }
        let job = export(&api, &key, "/api/v1", json!({})).await;
        api.control.stop_tasks().await;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_export_outlives_the_process_that_writes_it", "--nocapture"])
            .env("JOBS_CHILD", format!("{url} {}", folder.path().display()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let row = async || {
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            let read =
                sqlx::query_as("SELECT status, coalesce((result->>'rows')::bigint, 0), epoch FROM jobs");
            let row: (String, i64, i32) = read.fetch_one(tx.db()).await.unwrap();
            row
        };
        let (status, rows, epoch) =
            eventually("the middle of the export", async || Some(row().await).filter(|r| r.1 > 0)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rows < 40_000 && status == "running", "{status} {rows}");
        assert_eq!((row().await.0.as_str(), row().await.2), ("running", epoch), "killed in the middle");
        let spool = folder.path().join("jobs");
        let part = spool.join(format!("{}-{epoch}.csv.part", job.rsplit('/').next().unwrap()));
        assert!(part.exists(), "an unfinished file is left");
        // The lease of the dead process is over at once.
        sql(&api, "UPDATE jobs SET lease_until = now() - interval '1 second'").await;
        let next =
            warp_control_plane::start_on(store, settings(folder.path()), common::handles()).await.unwrap();
        let api = Api { control: next, operator: api.operator.clone() };
        let done = standing(&api, &key, &job, "done").await;
        assert_eq!((&done["attempts"], &done["result"]["rows"]), (&json!(2), &json!(ROWS + 1)));
        let lines = lines(&downloaded(&api, &key, &job).await);
        let mut ids = column(&lines, "id");
        ids.sort();
        ids.dedup();
        assert_eq!((lines.len(), ids.len()), (ROWS + 2, ROWS + 1), "each call once");
        warp_control_plane::jobs::spool::sweep(&api.control.app, &spool).await.unwrap();
        assert!(!part.exists(), "nothing of the first attempt is left");
        api.control.stop_tasks().await;
    });
}

fn settings(folder: &Path) -> Config {
    let database = Database::Private { dir: folder.to_owned() };
    let mut config = Config::new(database, "127.0.0.1:0".parse().unwrap());
    config.key_file = Some(folder.join("seal.key"));
    config.spool = Some(Spool { dir: folder.join("jobs"), node: "n1".into() });
    config
}

/// A control plane that carries out jobs until it is killed.
fn child(told: &str) {
    let (url, folder) = told.split_once(' ').unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut config = settings(folder.as_ref());
        config.database = Database::Url { app: warp_model::Secret::new(url.to_owned()), migrate: None };
        let _control = warp_control_plane::start(config, common::handles()).await.unwrap();
        // Until it is killed, or its parent is gone.
        let _ = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await;
    });
}
