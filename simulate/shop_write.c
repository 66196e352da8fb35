/* shop_write.c - the shop's events as native JSON lines; titles that mean something, in English or Chinese. */
#include "simulate/shop.h"

static const char *const nouns_en[SHOP_NOUNS] = {
    "lantern",   "candle holder", "table lamp", "fairy lights", "mug",         "teapot",
    "plate set", "cake stand",    "cushion",    "blanket",      "rug",         "curtain",
    "tote bag",  "backpack",      "purse",      "wallet",       "notebook",    "fountain pen",
    "gift wrap", "photo frame",   "plant pot",  "watering can", "bird feeder", "garden chair"};
static const char *const nouns_zh[SHOP_NOUNS] = {
    "灯笼",   "烛台", "台灯", "彩灯", "马克杯", "茶壶", "餐盘",   "蛋糕架", "抱枕", "毛毯", "地毯",   "窗帘",
    "手提包", "背包", "钱包", "卡包", "笔记本", "钢笔", "包装纸", "相框",   "花盆", "水壶", "喂鸟器", "躺椅"};
static const char *const groups_en[SHOP_NOUNS / 4] = {"lighting", "kitchen",    "home textiles",
                                                      "bags",     "stationery", "garden"};
static const char *const groups_zh[SHOP_NOUNS / 4] = {"灯具", "厨房", "家纺", "箱包", "文具", "园艺"};
static const char *const colours_en[SHOP_COLOURS] = {"red",   "blue", "green",  "yellow", "white",
                                                     "black", "pink", "purple", "orange", "grey"};
static const char *const colours_zh[SHOP_COLOURS] = {"红色", "蓝色", "绿色", "黄色", "白色",
                                                     "黑色", "粉色", "紫色", "橙色", "灰色"};
static const char *const materials_en[SHOP_MATERIALS] = {"wooden",  "glass", "ceramic", "metal", "cotton",
                                                         "leather", "paper", "bamboo",  "wool",  "plastic"};
static const char *const materials_zh[SHOP_MATERIALS] = {"木制", "玻璃", "陶瓷", "金属", "棉质",
                                                         "皮革", "纸质", "竹制", "羊毛", "塑料"};

static void write_attributes(struct buf *b, const struct shop *s, uint32_t i, int64_t time_ms)
{
    const struct shop_item *it = shop_item(s, i);
    if (shop_is_chinese(s))
        buf_printf(b, ",\"title\":\"%s%s%s\",\"category\":\"%s\"", colours_zh[it->colour], materials_zh[it->material],
                   nouns_zh[it->noun], groups_zh[it->noun / 4]);
    else
        buf_printf(b, ",\"title\":\"%s %s %s\",\"category\":\"%s\"", colours_en[it->colour], materials_en[it->material],
                   nouns_en[it->noun], groups_en[it->noun / 4]);
    buf_printf(b, ",\"price\":%.2f", shop_price(s, i, time_ms, 0));
}

void shop_write_item(struct buf *b, const struct shop *s, uint32_t i)
{
    buf_printf(b, "{\"type\":\"item\",\"time\":%lld,\"item\":\"i%u\"", (long long)shop_item(s, i)->since_ms, i);
    write_attributes(b, s, i, shop_item(s, i)->since_ms);
    buf_printf(b, "}\n");
}

static void write_source(struct buf *b, const struct shop_list *l)
{
    if (l->source > 0) buf_printf(b, ",\"source\":\"s%u\"", l->source - 1);
}

void shop_write_list(struct buf *b, const struct shop_list *l)
{
    buf_printf(
        b, "{\"type\":\"impression\",\"time\":%lld,\"id\":\"r%llu\",\"request\":\"r%llu\",\"user\":\"u%u\",\"items\":[",
        (long long)l->time_ms, (unsigned long long)l->number, (unsigned long long)l->number, l->user);
    for (uint32_t k = 0; k < l->n; k++) buf_printf(b, "%s\"i%u\"", k > 0 ? "," : "", l->items[k]);
    buf_u8(b, ']');
    write_source(b, l);
    buf_printf(b, "}\n");
}

static void write_behaviour(struct buf *b, const struct shop_list *l, uint32_t k, const char *type, int64_t time_ms)
{
    buf_printf(
        b,
        "{\"type\":\"%s\",\"time\":%lld,\"id\":\"%c%llu.%u\",\"request\":\"r%llu\",\"user\":\"u%u\",\"item\":\"i%u\"",
        type, (long long)time_ms, type[0], (unsigned long long)l->number, k, (unsigned long long)l->number, l->user,
        l->items[k]);
    write_source(b, l);
}

void shop_write_click(struct buf *b, const struct shop_list *l, uint32_t k)
{
    write_behaviour(b, l, k, "click", l->click_ms[k]);
    buf_printf(b, "}\n");
}

void shop_write_purchase(struct buf *b, const struct shop *s, const struct shop_list *l, uint32_t k, int64_t time_ms)
{
    write_behaviour(b, l, k, "purchase", time_ms);
    buf_printf(b, ",\"order\":\"o%llu.%u\",\"price\":%.2f,\"quantity\":1}\n", (unsigned long long)l->number, k,
               shop_price(s, l->items[k], time_ms, l->source));
}
