import type { Item } from "./api";

export type ItemFields = { name: string; price: string };

type Props = { label: string; item?: Item; onSend: (fields: ItemFields) => Promise<void> };

export function ItemForm({ label, item, onSend }: Props) {
  const send = (form: FormData) =>
    onSend({ name: String(form.get("name")), price: String(form.get("price")) });
  return (
    <form action={send} aria-label={label}>
      <label>
        Name <input name="name" defaultValue={item?.name} maxLength={255} required />
      </label>
      <label>
        Price <input name="price" defaultValue={item?.price} inputMode="decimal" required />
      </label>
      <button>{label}</button>
    </form>
  );
}
