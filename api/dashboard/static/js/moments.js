// Fields of a date and a time, in the reader's zone; addresses and the service have them in UTC.
// <input type="datetime-local" data-moment="2026-11-20T09:00:00Z">

const two = (n) => String(n).padStart(2, "0");

/** A Date as such a field writes it, to the minute. */
export function local(at) {
  const day = `${String(at.getFullYear()).padStart(4, "0")}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Fills the fields, and sends what they hold in UTC; empty filters are left out. */
export function followMoments() {
  for (const field of document.querySelectorAll("[data-moment]")) {
    const at = new Date(field.dataset.moment);
    if (field.dataset.moment && !Number.isNaN(at.getTime())) field.value = local(at);
  }
  document.addEventListener("formdata", ({ target: form, formData }) => {
    for (const [name, value] of [...formData]) {
      const isMoment = form.elements[name]?.type === "datetime-local";
      if (isMoment && value) formData.set(name, new Date(value).toISOString());
      else if (form.matches("[role=search]") && !value) formData.delete(name);
    }
  });
}
