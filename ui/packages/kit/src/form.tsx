// Forms that are declared: a field is a name of the API, a label and a kind. What the API refuses stands at its field.
import { Button, Group, Modal, NumberInput, Select, Stack, Switch, TagsInput, Textarea, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useState } from 'react';
import { ApiError } from '@warp/api-client';
import { Failed } from './parts.tsx';
import { words } from './format.ts';

/** A field of a form. */
export interface FieldSpec {
  name: string;
  label: string;
  kind?: 'text' | 'long' | 'number' | 'choice' | 'many' | 'switch' | 'money' | 'secret' | 'moment';
  choices?: readonly string[] | { value: string; label: string }[];
  required?: boolean;
  hint?: string;
  currency?: string;
}

type Values = Record<string, unknown>;

/** A button that opens a form and hands over what was typed. */
export function FormButton({ label, title, fields, initial = {}, submit, save = 'Save', primary }: {
  label: string; title: string; fields: FieldSpec[]; initial?: Values; save?: string; primary?: boolean;
  submit: (values: Values) => Promise<unknown>;
}) {
  const [open, { open: show, close }] = useDisclosure(false);
  const [values, setValues] = useState<Values>({});
  const [why, setWhy] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const begin = () => {
    setValues(Object.fromEntries(fields.map((f) => [f.name, shownOf(f, initial[f.name])])));
    setWhy(null);
    show();
  };
  const details = why instanceof ApiError ? why.details : [];
  const go = async () => {
    setBusy(true);
    setWhy(null);
    try {
      await submit(Object.fromEntries(fields.map((f) => [f.name, sentOf(f, values[f.name])]).filter(([, v]) => v !== undefined)));
      close();
    } catch (e) {
      setWhy(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button variant={primary ? 'filled' : 'default'} onClick={begin}>{label}</Button>
      <Modal opened={open} onClose={close} title={title} size="lg">
        <form onSubmit={(e) => { e.preventDefault(); void go(); }}>
          <Stack>
            {fields.map((f) => (
              <Field key={f.name} spec={f} value={values[f.name]} problem={details.find((d) => d.field === f.name || d.field.startsWith(`${f.name}.`))?.message}
                set={(v) => setValues((old) => ({ ...old, [f.name]: v }))} />
            ))}
            {why !== null && <Failed why={why} />}
            <Group><Button type="submit" loading={busy}>{save}</Button><Button variant="default" onClick={close}>Cancel</Button></Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}

function shownOf(f: FieldSpec, value: unknown): unknown {
  if (f.kind === 'money') return (value as { amount?: string } | null)?.amount ?? '';
  if (f.kind === 'many') return value ?? [];
  if (f.kind === 'switch') return value ?? false;
  if (f.kind === 'choice') return value ?? (f.required ? first(f) : null);
  return value ?? '';
}
function first(f: FieldSpec): string | null {
  const c = f.choices?.[0];
  return typeof c === 'string' ? c : (c?.value ?? null);
}
/** Empty is null for what may be absent, and left out for what must be there: the API says then that it is missing. */
function sentOf(f: FieldSpec, value: unknown): unknown {
  if (f.kind === 'many' || f.kind === 'switch') return value;
  if (value === '' || value === null || value === undefined) return f.required ? undefined : null;
  if (f.kind === 'money') return { amount: String(value), currency: f.currency ?? 'USD' };
  if (f.kind === 'moment') return new Date(String(value)).toISOString();
  return value;
}

function Field({ spec, value, set, problem }: { spec: FieldSpec; value: unknown; set: (v: unknown) => void; problem?: string }) {
  const common = { label: spec.label, description: spec.hint, error: problem, required: spec.required };
  switch (spec.kind) {
    case 'number':
      return <NumberInput {...common} value={value as number | string} onChange={(v) => set(v)} allowDecimal={false} />;
    case 'choice':
      return (
        <Select {...common} value={(value as string) ?? null} onChange={set} clearable={!spec.required} searchable={(spec.choices?.length ?? 0) > 8}
          data={(spec.choices ?? []).map((c) => (typeof c === 'string' ? { value: c, label: words(c) } : c))} />
      );
    case 'many':
      return <TagsInput {...common} value={value as string[]} onChange={set} data={(spec.choices ?? []) as string[]} />;
    case 'switch':
      return <Switch label={spec.label} description={spec.hint} checked={Boolean(value)} onChange={(e) => set(e.currentTarget.checked)} />;
    case 'long':
      return <Textarea {...common} autosize minRows={2} value={String(value ?? '')} onChange={(e) => set(e.currentTarget.value)} />;
    case 'secret':
      return <TextInput {...common} type="password" autoComplete="new-password" value={String(value ?? '')} onChange={(e) => set(e.currentTarget.value)} />;
    case 'moment':
      return <TextInput {...common} type="datetime-local" value={String(value ?? '')} onChange={(e) => set(e.currentTarget.value)} />;
    case 'money':
      return <TextInput {...common} inputMode="decimal" rightSection={spec.currency ?? 'USD'} rightSectionWidth={56} value={String(value ?? '')} onChange={(e) => set(e.currentTarget.value)} />;
    default:
      return <TextInput {...common} value={String(value ?? '')} onChange={(e) => set(e.currentTarget.value)} />;
  }
}
