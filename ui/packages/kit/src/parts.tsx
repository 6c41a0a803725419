// Small things that every page uses.
import { Alert, Anchor, Button, Code, CopyButton, Group, Modal, Paper, Skeleton, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import { useEffect, useState, type ReactNode } from 'react';
import { ApiError, address, type Options } from '@warp/api-client';
import { moment, useZone } from './format.ts';
import { signIn, usePortal } from './portal.tsx';

/** A link within the portal. */
export function Go({ to, search, children }: { to: string; search?: Record<string, string>; children: ReactNode }) {
  return <Link {...({ to, search } as never as { to: string })}>{children}</Link>;
}

/** A page: its title, what can be done, its content. */
export function Page({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  const { name } = usePortal();
  useEffect(() => {
    document.title = `${title} · WARP ${name}`;
  }, [title, name]);
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-start">
        <Title order={1} size="h2" style={{ overflowWrap: 'anywhere' }}>{title}</Title>
        <Group gap="xs">{actions}</Group>
      </Group>
      {children}
    </Stack>
  );
}

/** A part of a page. */
export function Part({ title, children, actions }: { title: string; children: ReactNode; actions?: ReactNode }) {
  return (
    <Paper withBorder p="md" radius="md" component="section" aria-label={title}>
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">{title}</Title>
        {actions}
      </Group>
      {children}
    </Paper>
  );
}

const LOOKS = { good: ['●', '#2b8a3e', '#69db7c'], bad: ['■', '#c92a2a', '#ff8787'], warn: ['▲', '#a35200', '#ffc078'], off: ['○', '#495057', '#b4b8bd'] } as const;
/** A state by sign and word; the colour only repeats it. */
export function State({ kind, children }: { kind: keyof typeof LOOKS; children: ReactNode }) {
  const [sign, light, dark] = LOOKS[kind];
  return (
    <span className="w-state">
      <span aria-hidden style={{ color: `light-dark(${light}, ${dark})` }}>{sign}</span>
      {children}
    </span>
  );
}

/** A moment; hovering shows UTC and Unix time. */
export function When({ at }: { at: string | number | null | undefined }) {
  const zone = useZone();
  const date = at === null || at === undefined || at === '' ? null : new Date(at);
  const title = date && !Number.isNaN(date.getTime()) ? `${date.toISOString()} · ${date.getTime()} ms` : undefined;
  return <span title={title}>{moment(at, zone)}</span>;
}

/** Names and values. What is `undefined` is left out. */
export function Fields({ of }: { of: [string, ReactNode][] }) {
  return (
    <dl className="w-fields">
      {of.filter(([, value]) => value !== undefined).map(([name, value]) => (
        <FieldRow key={name} name={name} value={value} />
      ))}
    </dl>
  );
}
function FieldRow({ name, value }: { name: string; value: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value === null || value === '' || (Array.isArray(value) && value.length === 0) ? '–' : value}</dd>
    </>
  );
}

/** A plain table for a few rows. */
export function Plain({ head, rows, label }: { head: string[]; rows: ReactNode[][]; label: string }) {
  return (
    <div className="w-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="w-plain">
        <thead><tr>{head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
        <tbody>{rows.map((row, i) => <tr key={i}>{row.map((cell, j) => <td key={j}>{cell}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

/** Why something did not work, what to do, and what to send to support. */
export function Failed({ why, again }: { why: unknown; again?: () => void }) {
  const portal = usePortal();
  const e = why instanceof ApiError ? why : new ApiError(0, 'unexpected', String((why as Error)?.message ?? why), '');
  const stepUp = e.code === 'step_up_required';
  return (
    <Alert color={stepUp ? 'blue' : 'red'} variant="outline" role="alert" title={stepUp ? 'This needs a second factor.' : e.message}>
      <Stack gap="xs">
        {e.hint && !stepUp && <Text size="sm">{e.hint}</Text>}
        {e.details.map((d) => <Text size="sm" key={d.field + d.code}><Code>{d.field}</Code> {d.message}</Text>)}
        {stepUp && <Button w="fit-content" onClick={() => signIn(portal, true)}>Show it again that it is you</Button>}
        {!stepUp && e.requestId && <Text size="sm">For support: <Code>{e.code}</Code> <Code>{e.requestId}</Code></Text>}
        {again && !stepUp && <Button w="fit-content" variant="default" onClick={again}>Try again</Button>}
      </Stack>
    </Alert>
  );
}

/** What a query has: its answer, that it is on its way, or why not. */
export function Answered<D>({ query, children }: {
  query: { data?: D; isPending: boolean; isError: boolean; error: unknown; refetch: () => unknown };
  children: (data: D) => ReactNode;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isError) return <Failed why={query.error} again={() => void query.refetch()} />;
  return <Stack aria-busy="true" aria-label="Loading"><Skeleton h={24} w="60%" /><Skeleton h={120} /></Stack>;
}

/** The request of a page for a terminal. The key is the reader's own: nothing of the session is in it. */
export function AsCurl({ path, options, method = 'GET', body }: { path: string; options?: Options; method?: string; body?: unknown }) {
  const [open, { open: show, close }] = useDisclosure(false);
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl -H "Authorization: Bearer $WARP_API_KEY"`];
  if (method !== 'GET') lines.push(`-X ${method}`);
  if (body !== undefined) lines.push(`-H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`);
  lines.push(quoted(location.origin + address(path, options)));
  const text = lines.join(' \\\n  ');
  return (
    <>
      <Button variant="default" onClick={show}>Show as curl</Button>
      <Modal opened={open} onClose={close} title="The same for a terminal" size="lg">
        <Code block tabIndex={0}>{text}</Code>
        <CopyButton value={text}>{({ copied, copy }) => <Button mt="sm" onClick={copy}>{copied ? 'Copied' : 'Copy'}</Button>}</CopyButton>
      </Modal>
    </>
  );
}

/** Text that is copied as it is. */
export function Copied({ text, shown }: { text: string; shown?: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Anchor component="button" type="button" inherit className="w-mono" onClick={copy} title="Copy">
          {copied ? 'copied' : (shown ?? text)}
        </Anchor>
      )}
    </CopyButton>
  );
}

/** A secret that is shown once. */
export function Secret({ text, close }: { text: string | null; close: () => void }) {
  return (
    <Modal opened={text !== null} onClose={close} title="Shown once" closeOnClickOutside={false}>
      <Text mb="sm">Keep it now: it is never shown again, here or anywhere.</Text>
      <Code block tabIndex={0} style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>{text}</Code>
      <Group mt="sm">
        <CopyButton value={text ?? ''}>{({ copied, copy }) => <Button onClick={copy}>{copied ? 'Copied' : 'Copy'}</Button>}</CopyButton>
        <Button variant="default" onClick={close}>I have it</Button>
      </Group>
    </Modal>
  );
}

/** Asks for the name before something goes for good. */
export function Sure({ what, name, verb = 'Delete', act, trigger }: {
  what: string; name: string; verb?: string; act: () => Promise<unknown>; trigger?: string;
}) {
  const [open, { open: show, close }] = useDisclosure(false);
  const [typed, setTyped] = useState('');
  const [why, setWhy] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setWhy(null);
    try {
      await act();
      close();
    } catch (e) {
      setWhy(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button variant="default" onClick={() => { setTyped(''); setWhy(null); show(); }}>{trigger ?? verb}</Button>
      <Modal opened={open} onClose={close} title={`${verb} ${what}?`}>
        <Stack>
          <TextInput label={`Type ${name} to go on`} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} data-autofocus />
          {why !== null && <Failed why={why} />}
          <Button color="red" disabled={typed !== name} loading={busy} onClick={go}>{verb}</Button>
        </Stack>
      </Modal>
    </>
  );
}
