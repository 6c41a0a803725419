// Lists: filters in the URL, keyset paging, virtual rows, saved views, CSV of the current filter, keyboard.
import { Button, Group, Menu, Select, Stack, Switch, Text, TextInput, VisuallyHidden } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useLocation, useNavigate } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import { request, type Options } from '@warp/api-client';
import { csvLine, words } from './format.ts';
import { AsCurl, Failed, Go } from './parts.tsx';
import { usePortal } from './portal.tsx';

/** A column of a list. */
export interface Column<R> {
  head: string;
  cell: (row: R) => ReactNode;
  /** For CSV. */
  text: (row: R) => string;
  /** Width as CSS grid has it. */
  width?: string;
  /** Shown on narrow screens too. */
  narrow?: boolean;
  /** To the right, as figures are. */
  right?: boolean;
}

/** A filter of a list: a field of the query. */
export interface Filter {
  name: string;
  label: string;
  choices?: readonly string[];
  kind?: 'moment';
}

/** What stands in the URL of this page, and how to change it. */
export function useUrl(): [Record<string, string>, (change: Record<string, string | undefined>) => void] {
  const here = useLocation();
  const navigate = useNavigate();
  const search = here.search as Record<string, string>;
  return [search, (change) => {
    const next = Object.fromEntries(Object.entries({ ...search, ...change }).filter(([, v]) => v !== undefined && v !== ''));
    void navigate({ to: here.pathname, search: next, replace: true } as never);
  }];
}

const LIMIT = 100;
/** The most lines of one CSV file. */
const CSV_LINES = 100_000;

export function List<R>({ path, params, columns, filters = [], open, empty, label, idOf, fixed, live }: {
  path: string; params?: Options['params']; columns: Column<R>[]; filters?: Filter[]; label: string;
  /** Where a row leads to, within the portal. */
  open?: (row: R) => string;
  idOf: (row: R) => string;
  empty: ReactNode;
  /** Part of each query. */
  fixed?: Record<string, string>;
  /** Whether it may be asked for again and again. */
  live?: boolean;
}) {
  const [url, setUrl] = useUrl();
  const narrow = useMediaQuery('(max-width: 48em)') ?? false;
  const query = useMemo(() => {
    const of: Record<string, string> = { ...fixed };
    for (const f of filters) if (url[f.name]) of[f.name] = f.kind === 'moment' ? new Date(url[f.name]!).toISOString() : url[f.name]!;
    return of;
  }, [url, filters, fixed]);
  const rows = useInfiniteQuery({
    queryKey: [path, params, query],
    queryFn: ({ pageParam, signal }) => request<R[]>('get', path, { params, query: { ...query, limit: LIMIT, cursor: pageParam }, signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => (last.meta.has_more ? (last.meta.next_cursor ?? undefined) : undefined),
    refetchInterval: url.live === '1' ? 3_000 : false,
  });
  const all = useMemo(() => rows.data?.pages.flatMap((p) => p.data) ?? [], [rows.data]);
  const shown = columns.filter((c) => !narrow || c.narrow);
  const template = shown.map((c) => c.width ?? 'minmax(90px, 1fr)').join(' ');
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({ count: all.length, getScrollElement: () => scroller.current, estimateSize: () => 38, overscan: 12 });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  const { hasNextPage, isFetchingNextPage, fetchNextPage, isError } = rows;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isError && last >= all.length - 20) void fetchNextPage();
  }, [last, all.length, hasNextPage, isFetchingNextPage, isError, fetchNextPage]);

  const [current, setCurrent] = useState(-1);
  const navigate = useNavigate();
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const typing = /INPUT|TEXTAREA|SELECT/.test((e.target as HTMLElement).tagName) || document.querySelector('[role=dialog]');
      if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
      const to = e.key === 'j' ? Math.min(current + 1, all.length - 1) : e.key === 'k' ? Math.max(current - 1, 0) : null;
      const row = all[current];
      if (to !== null && all.length) {
        setCurrent(to);
        virtual.scrollToIndex(to);
      } else if (e.key === 'Enter' && row && open && (e.target as HTMLElement).tagName !== 'A' && (e.target as HTMLElement).tagName !== 'BUTTON') {
        void navigate({ to: open(row) } as never);
      } else if (e.key === '/') {
        e.preventDefault();
        document.querySelector<HTMLInputElement>('[data-filter]')?.focus();
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [current, all, open, navigate, virtual]);

  return (
    <Stack gap="sm">
      <Group align="flex-end" gap="xs">
        {filters.map((f) => <FilterInput key={f.name} filter={f} value={url[f.name] ?? ''} set={(v) => setUrl({ [f.name]: v })} />)}
        {live && <Switch label="Live" checked={url.live === '1'} onChange={(e) => setUrl({ live: e.currentTarget.checked ? '1' : undefined })} mb={6} />}
        <Views filters={filters} />
        <CsvButton path={path} params={params} query={query} columns={columns} label={label} />
        <AsCurl path={path} options={{ params, query }} />
      </Group>
      {rows.isError && <Failed why={rows.error} again={() => void rows.refetch()} />}
      <VisuallyHidden role="status">{rows.isPending ? 'Loading' : `${all.length} rows${rows.hasNextPage ? ', more below' : ''}`}</VisuallyHidden>
      {!rows.isPending && !rows.isError && all.length === 0 ? (
        <Stack p="lg" gap="xs">{Object.keys(query).length > Object.keys(fixed ?? {}).length
          ? <Text>Nothing fits these filters. <Button variant="default" size="xs" onClick={() => setUrl(Object.fromEntries(filters.map((f) => [f.name, undefined])))}>Take them away</Button></Text>
          : empty}</Stack>
      ) : (
        <div className="w-table" ref={scroller} role="table" aria-label={label} aria-rowcount={rows.hasNextPage ? -1 : all.length + 1} tabIndex={0}
          style={{ height: Math.min(38 * Math.max(all.length, 4) + 40, Math.max(320, window.innerHeight - 300)) }}>
          <div role="rowgroup" className="w-head-group" style={{ position: 'sticky', top: 0, zIndex: 1 }}>
            <div className="w-row w-head" role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
              {shown.map((c) => <div key={c.head} role="columnheader" className={c.right ? 'w-num' : undefined}>{c.head}</div>)}
            </div>
          </div>
          <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
            {items.map((item) => {
              const row = all[item.index]!;
              return (
                <div key={idOf(row)} role="row" aria-rowindex={item.index + 2} className="w-row w-line" data-current={item.index === current || undefined}
                  style={{ gridTemplateColumns: template, transform: `translateY(${item.start}px)` }}>
                  {shown.map((c, i) => (
                    <div key={c.head} role="cell" className={c.right ? 'w-num' : undefined}>
                      {i === 0 && open ? <Go to={open(row)}>{c.cell(row)}</Go> : c.cell(row)}
                    </div>
                  ))}
                </div>
              );
            })}
          </div>
        </div>
      )}
    </Stack>
  );
}

/** Typed text counts after a moment of rest. */
function FilterInput({ filter, value, set }: { filter: Filter; value: string; set: (v: string) => void }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return;
    const wait = setTimeout(() => set(typed), 350);
    return () => clearTimeout(wait);
  }, [typed]); // eslint-disable-line
  if (filter.choices) {
    return <Select size="sm" w={150} label={filter.label} clearable value={value || null} onChange={(v) => set(v ?? '')} data={filter.choices.map((c) => ({ value: c, label: words(c) }))} />;
  }
  return (
    <TextInput size="sm" w={filter.kind === 'moment' ? 200 : 170} label={filter.label} type={filter.kind === 'moment' ? 'datetime-local' : 'text'} value={typed}
      onChange={(e) => setTyped(e.currentTarget.value)} data-filter />
  );
}

/** Filters that somebody keeps under a name, in this browser. */
function Views({ filters }: { filters: Filter[] }) {
  const portal = usePortal();
  const here = useLocation();
  const [url, setUrl] = useUrl();
  const key = `warp-views:${portal.place}${here.pathname}`;
  const [views, setViews] = useState<Record<string, Record<string, string>>>(() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? '{}') as Record<string, Record<string, string>>;
    } catch {
      return {};
    }
  });
  const [name, setName] = useState('');
  const keep = (next: typeof views) => {
    localStorage.setItem(key, JSON.stringify(next));
    setViews(next);
  };
  if (filters.length === 0) return null;
  const none = Object.fromEntries(filters.map((f) => [f.name, undefined]));
  return (
    <Menu trapFocus>
      <Menu.Target><Button variant="default">Views</Button></Menu.Target>
      <Menu.Dropdown>
        {Object.entries(views).map(([n, v]) => <Menu.Item key={n} onClick={() => setUrl({ ...none, ...v })}>{n}</Menu.Item>)}
        <Group p="xs" gap="xs" wrap="nowrap">
          <TextInput size="xs" aria-label="Name of this view" placeholder="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} />
          <Button size="xs" disabled={!name} onClick={() => { keep({ ...views, [name]: Object.fromEntries(Object.entries(url).filter(([k]) => k in none)) }); setName(''); }}>Keep</Button>
        </Group>
      </Menu.Dropdown>
    </Menu>
  );
}

function CsvButton<R>({ path, params, query, columns, label }: {
  path: string; params?: Options['params']; query: Record<string, string>; columns: Column<R>[]; label: string;
}) {
  const [busy, setBusy] = useState<string | null>(null);
  const save = async () => {
    const parts = [csvLine(columns.map((c) => c.head))];
    let cursor: string | undefined;
    try {
      do {
        setBusy(`${parts.length - 1}`);
        const page: { data: R[]; meta: { has_more?: boolean; next_cursor?: string | null } } =
          await request<R[]>('get', path, { params, query: { ...query, limit: 200, cursor } });
        for (const row of page.data) parts.push(csvLine(columns.map((c) => c.text(row))));
        cursor = page.meta.has_more ? (page.meta.next_cursor ?? undefined) : undefined;
      } while (cursor && parts.length <= CSV_LINES);
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob(parts, { type: 'text/csv' }));
      link.download = `${label.toLowerCase().replaceAll(' ', '-')}.csv`;
      link.click();
      URL.revokeObjectURL(link.href);
    } finally {
      setBusy(null);
    }
  };
  return <Button variant="default" disabled={busy !== null} onClick={() => void save()}>{busy === null ? 'CSV' : `CSV… ${busy}`}</Button>;
}
